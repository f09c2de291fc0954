// The report's viewer: linked slices of every method on plain 2-D canvases. NiiVue was considered and not used: it needs
// WebGL 2, which remote desktops often lack, a context for each picture (browsers keep about 16), and adds megabytes.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const viewer = document.getElementById("viewer");
  // Volumes run to the patient's right, front and head. Every plane shows u from its end to its start on the viewer's
  // left to right and v top to bottom: radiological, the patient's right (in sagittal planes the front) on the left.
  const PLANES = {
    axial: { u: 0, v: 1, w: 2, marks: ["R", "L", "A", "P"] },
    coronal: { u: 0, v: 2, w: 1, marks: ["R", "L", "S", "I"] },
    sagittal: { u: 1, v: 2, w: 0, marks: ["A", "P", "S", "I"] },
  };
  const ZOOM = { step: 1.25, least: 1, most: 16 };
  const get = (id) => document.getElementById(id);
  const { inflate, unpack, slice, projection, layer } = window.packedVolumes;
  const state = { plane: "axial", window: 0, mip: false, vessels: false, zoom: 1, pan: [0, 0], position: [0, 0, 0], cursor: null };
  const plane = () => PLANES[state.plane];
  const axisSize = (axis) => current.shape[axis];
  let current = null; // the case whose volumes are decoded
  let panels = [];
  let request = 0;

  async function openCase(index) {
    const mine = ++request;
    viewer.dataset.state = "loading";
    get("viewer-status").textContent = "Decoding…";
    const found = data.cases[index];
    const volumes = [];
    for (const volume of found.volumes) {
      const reference = volume.difference ? volumes[0].steps : null;
      const steps = unpack(await inflate(volume.id), reference, found.shape[0] * found.shape[1]);
      const codes = volumes.length < found.layers.length ? await inflate(found.layers[volumes.length]) : null;
      volumes.push({ number: volumes.length, name: data.names[volumes.length], steps, codes });
    }
    const region = await inflate(found.region);
    if (mine !== request) return; // another case was chosen meanwhile
    current = { ...found, volumes, region, projections: new Map() };
    state.position = [found.shape[0] >> 1, found.shape[1] >> 1, found.slice];
    Object.assign(state, { zoom: 1, pan: [0, 0], cursor: null });
    get("viewer-grid-words").textContent = found.words;
    buildPanels();
    update();
    viewer.dataset.state = "ready";
  }

  function picture(volume) {
    if (!state.mip) return slice(volume.steps, current, plane(), state.position[plane().w]);
    const key = `${volume.number} ${state.plane}`;
    const kept = current.projections.get(key) ?? projection(volume.steps, current, plane(), data.air);
    current.projections.set(key, kept);
    return kept;
  }

  function paint(panel) {
    const { u, v } = plane();
    const [width, height] = [axisSize(u), axisSize(v)];
    const image = new ImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const { low, high } = panel.error ? { low: -data.errorRange, high: data.errorRange } : data.windows[state.window];
    const colours = panel.error ? data.errorColours : data.greys;
    panel.hu = picture(panel.volume);
    if (panel.error) {
      const cta = picture(current.volumes[current.volumes.length - 1]);
      panel.hu = panel.hu.map((hu, i) => hu - cta[i]);
    }
    for (let i = 0; i < pixels.length; i++) {
      const level = Math.round(((panel.hu[i] - low) / (high - low)) * 255);
      pixels[i] = colours[Math.min(255, Math.max(0, level))];
    }
    if (panel.error && !state.mip) outline(pixels, width);
    if (state.vessels && !panel.error && panel.volume.codes) colourVessels(pixels, panel.volume.codes);
    Object.assign(panel.source, { width, height });
    panel.source.getContext("2d").putImageData(image, 0, 0);
  }

  // Found, missed and invented vessels over the picture, which stays visible below.
  function colourVessels(pixels, codes) {
    const seen = layer(codes, current, plane(), state.mip ? null : state.position[plane().w]);
    for (let i = 0; i < pixels.length; i++) {
      if (seen[i] === 0) continue;
      const grey = pixels[i] & 255;
      const [red, green, blue] = data.layerColours[seen[i] - 1].map((value) => Math.round(0.35 * grey + 0.65 * value));
      pixels[i] = (255 << 24) | (blue << 16) | (green << 8) | red;
    }
  }

  // The surfaces of body and lungs, so that an error can be placed.
  function outline(pixels, width) {
    const ncct = picture(current.volumes[0]);
    for (let i = 0; i + width < pixels.length; i++) {
      const inside = ncct[i] > data.surface;
      if (inside !== ncct[i + 1] > data.surface || inside !== ncct[i + width] > data.surface) pixels[i] = data.line;
    }
  }

  function buildPanels() {
    const shown = new Set([...document.querySelectorAll("#viewer-shown input:checked")].map((box) => +box.value));
    const last = current.volumes.length - 1;
    const columns = current.volumes.filter((volume, i) => i === 0 || i === last || shown.has(volume.number));
    const box = get("viewer-panels");
    const legend = get("viewer-legend");
    box.replaceChildren();
    box.style.setProperty("--columns", columns.length);
    panels = [];
    for (const error of data.errors ? [false, true] : [false]) {
      for (const volume of columns) {
        if (error && volume === current.volumes[last]) box.append(legend);
        else panels.push(makePanel(box, volume, error));
      }
    }
  }

  function makePanel(box, volume, error) {
    const tags = ["figure", "figcaption", "span", "output", "canvas"];
    const [figure, caption, name, value, canvas] = tags.map((tag) => document.createElement(tag));
    name.textContent = error ? `${volume.name} − ${data.names[data.names.length - 1]}` : volume.name;
    Object.assign(canvas.dataset, { name: volume.name, kind: error ? "error" : "image" });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", error ? `error map, ${name.textContent}, in HU` : `CT slice, ${volume.name}`);
    caption.append(name, value);
    figure.append(caption, canvas);
    box.append(figure);
    const panel = { volume, error, canvas, value, source: document.createElement("canvas"), hu: null };
    canvas.addEventListener("pointermove", (event) => showCursor(voxelAt(panel, event)));
    canvas.addEventListener("pointerleave", () => showCursor(null));
    canvas.addEventListener("pointerdown", (event) => drag(panel, event));
    canvas.addEventListener("wheel", (event) => wheel(panel, event), { passive: false });
    return panel;
  }

  function layout(panel) {
    const { u, v } = plane();
    const size = [u, v].map((axis) => axisSize(axis) * current.spacing[axis]);
    const width = panel.canvas.clientWidth;
    const height = Math.min((width * size[1]) / size[0], Math.max(200, window.innerHeight * 0.4));
    const scale = Math.min(width / size[0], height / size[1]) * state.zoom; // pixels a mm
    const left = width / 2 + (state.pan[0] - size[0] / 2) * scale;
    const top = height / 2 + (state.pan[1] - size[1] / 2) * scale;
    return { u, v, width, height, scale, left, top, shown: [size[0] * scale, size[1] * scale] };
  }

  function draw() {
    for (const panel of panels) {
      const at = layout(panel);
      const ratio = window.devicePixelRatio || 1;
      panel.canvas.style.height = `${at.height}px`;
      panel.canvas.width = Math.round(at.width * ratio);
      panel.canvas.height = Math.round(at.height * ratio);
      const context = panel.canvas.getContext("2d");
      context.scale(ratio, ratio);
      context.fillStyle = panel.error ? "#f7f7f7" : "#000";
      context.fillRect(0, 0, at.width, at.height);
      context.imageSmoothingQuality = "high";
      context.drawImage(panel.source, at.left, at.top, ...at.shown);
      drawWords(context, at, panel.error);
      drawCursor(context, at, panel);
    }
  }

  function drawWords(context, at, error) {
    const [left, right, top, bottom] = plane().marks;
    context.font = "600 13px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.fillStyle = error ? "#222" : "#ffd84d";
    context.strokeStyle = error ? "#f7f7f7" : "#000";
    context.lineWidth = 3;
    const [middle, height] = [at.width / 2, at.height / 2];
    const places = [[left, 10, height], [right, at.width - 10, height], [top, middle, 10], [bottom, middle, at.height - 9]];
    context.textAlign = "center";
    if (state.mip) places.push(["MIP", 20, 11]);
    for (const [mark, x, y] of places) {
      context.strokeText(mark, x, y);
      context.fillText(mark, x, y);
    }
  }

  function drawCursor(context, at, panel) {
    panel.value.textContent = "";
    if (!state.cursor) return;
    const column = axisSize(at.u) - 1 - state.cursor[at.u];
    const row = axisSize(at.v) - 1 - state.cursor[at.v];
    const hu = Math.round(panel.hu[row * axisSize(at.u) + column]);
    panel.value.textContent = `${panel.error && hu > 0 ? "+" : ""}${hu} HU`.replace("-", "−");
    const x = at.left + (column + 0.5) * current.spacing[at.u] * at.scale;
    const y = at.top + (row + 0.5) * current.spacing[at.v] * at.scale;
    context.strokeStyle = panel.error ? "#111" : "#6cf";
    context.lineWidth = 1;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 3 * dx, y + 3 * dy);
      context.lineTo(x + 9 * dx, y + 9 * dy);
    }
    context.stroke();
  }

  function showCursor(voxel) {
    state.cursor = voxel;
    draw();
  }

  // Content changed: slice, window, plane, projection or case.
  function update() {
    const { w } = plane();
    const slider = get("viewer-slice");
    Object.assign(slider, { max: axisSize(w) - 1, value: state.position[w], disabled: state.mip });
    const place = state.mip ? "all slices" : `${state.plane} slice ${state.position[w] + 1} of ${axisSize(w)}`;
    const { name, low, high } = data.windows[state.window];
    get("viewer-status").textContent = `${place} · ${name} window, ${low} to ${high} HU`.replaceAll("-", "−");
    for (const button of viewer.querySelectorAll("button[data-plane]")) press(button, button.dataset.plane === state.plane);
    for (const button of viewer.querySelectorAll("button[data-window]")) press(button, +button.dataset.window === state.window);
    press(get("viewer-mip"), state.mip);
    press(get("viewer-vessels"), state.vessels);
    get("viewer-vessels-legend").hidden = !state.vessels;
    panels.forEach(paint);
    draw();
  }

  const press = (button, on) => button.setAttribute("aria-pressed", String(on));
  const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

  function change(values) {
    Object.assign(state, values);
    if ("plane" in values) Object.assign(state, { zoom: 1, pan: [0, 0], cursor: null });
    update();
  }

  function moveTo(number) {
    const { w } = plane();
    state.position[w] = clamp(number, 0, axisSize(w) - 1);
    update();
  }

  // Zoom about a point given in pixels from the picture's middle, which stays where it is.
  function zoomBy(factor, x, y, scale) {
    const zoom = clamp(state.zoom * factor, ZOOM.least, ZOOM.most);
    const shift = (state.zoom / zoom - 1) / scale;
    state.pan = zoom === 1 ? [0, 0] : [state.pan[0] + x * shift, state.pan[1] + y * shift];
    state.zoom = zoom;
    draw();
  }

  function voxelAt(panel, event) {
    const at = layout(panel);
    const column = Math.floor((event.offsetX - at.left) / (current.spacing[at.u] * at.scale));
    const row = Math.floor((event.offsetY - at.top) / (current.spacing[at.v] * at.scale));
    if (column < 0 || row < 0 || column >= axisSize(at.u) || row >= axisSize(at.v)) return null;
    const voxel = [...state.position];
    voxel[at.u] = axisSize(at.u) - 1 - column;
    voxel[at.v] = axisSize(at.v) - 1 - row;
    return voxel;
  }

  function drag(panel, start) {
    const { canvas } = panel;
    const pan = [...state.pan];
    const { scale } = layout(panel);
    let moved = false;
    canvas.setPointerCapture(start.pointerId);
    const move = (event) => {
      const by = [event.clientX - start.clientX, event.clientY - start.clientY];
      moved ||= Math.hypot(...by) > 3;
      if (moved) state.pan = [pan[0] + by[0] / scale, pan[1] + by[1] / scale];
    };
    const stop = (event) => {
      canvas.removeEventListener("pointermove", move);
      // A click chooses the point through which the other planes go.
      if (!moved) state.position = voxelAt(panel, event) ?? state.position;
      draw();
    };
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerup", stop, { once: true });
  }

  function wheel(panel, event) {
    if (!viewer.matches(":focus-within")) return; // the page scrolls until the viewer was clicked
    event.preventDefault();
    const at = layout(panel);
    const factor = event.deltaY < 0 ? ZOOM.step : 1 / ZOOM.step;
    zoomBy(factor, event.offsetX - at.width / 2, event.offsetY - at.height / 2, at.scale);
  }

  const step = (by) => () => moveTo(state.position[plane().w] + by);
  const zoom = (factor) => () => zoomBy(factor, 0, 0, 1);
  const KEYS = {
    ArrowUp: step(1), ArrowRight: step(1), ArrowDown: step(-1), ArrowLeft: step(-1), PageUp: step(10), PageDown: step(-10),
    a: () => change({ plane: "axial" }), c: () => change({ plane: "coronal" }), s: () => change({ plane: "sagittal" }),
    m: () => change({ mip: !state.mip }), v: () => change({ vessels: !state.vessels }), 0: () => change({ zoom: 1, pan: [0, 0] }),
    "+": zoom(ZOOM.step), "=": zoom(ZOOM.step), "-": zoom(1 / ZOOM.step),
  };
  data.windows.forEach((_, i) => { KEYS[i + 1] = () => change({ window: i }); });

  document.addEventListener("keydown", (event) => {
    const busy = event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT";
    if (busy || !current || !viewer.matches(":hover, :focus-within") || !(event.key in KEYS)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  for (const button of viewer.querySelectorAll("button[data-key]")) {
    button.addEventListener("click", () => KEYS[button.dataset.key]());
  }
  get("viewer-slice").addEventListener("input", (event) => moveTo(+event.target.value));
  get("viewer-case").addEventListener("change", (event) => openCase(+event.target.value));
  get("viewer-shown").addEventListener("change", () => { buildPanels(); update(); });
  new ResizeObserver(() => draw()).observe(get("viewer-panels"));

  data.errorColours = Uint32Array.from(data.errorColours);
  data.greys = Uint32Array.from({ length: 256 }, (_, i) => (255 << 24) | (i << 16) | (i << 8) | i);
  if (!("DecompressionStream" in window)) {
    get("viewer-status").textContent = "The viewer needs Chrome or Edge 80, Firefox 113 or Safari 16.4, or a later one.";
  } else {
    openCase(0).catch((error) => { get("viewer-status").textContent = `The viewer can't show this case: ${error}`; });
  }
})();
