// Volumes as report_volumes.py packs them: base64 of gzip, decoded in the browser, one case at a time.
"use strict";
window.packedVolumes = (() => {
  async function inflate(id) {
    const text = atob(document.getElementById(id).textContent.trim());
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // Zigzag codes, low bytes then high bytes, of differences from a reference volume or from the slice below.
  function unpack(bytes, reference, sliceSize) {
    const size = bytes.length / 2;
    const steps = new Int16Array(size);
    for (let i = 0; i < size; i++) {
      const code = bytes[i] | (bytes[size + i] << 8);
      const from = reference ? reference[i] : i < sliceSize ? 0 : steps[i - sliceSize];
      steps[i] = ((code >>> 1) ^ -(code & 1)) + from;
    }
    return steps;
  }

  // Calls visit(i, start) for every pixel of a plane, row by row: its number, and its first voxel along the view.
  function eachPixel({ shape }, { u, v }, visit) {
    const stride = [1, shape[0], shape[0] * shape[1]];
    for (let row = 0, i = 0; row < shape[v]; row++) {
      for (let column = 0; column < shape[u]; column++, i++) {
        visit(i, (shape[u] - 1 - column) * stride[u] + (shape[v] - 1 - row) * stride[v]);
      }
    }
  }

  const along = ({ shape }, { w }) => [1, shape[0], shape[0] * shape[1]][w];
  const blank = ({ shape }, { u, v }) => new Float32Array(shape[u] * shape[v]);

  // HU of a slice.
  function slice(steps, found, plane, number) {
    const hu = blank(found, plane);
    const offset = number * along(found, plane);
    eachPixel(found, plane, (i, start) => { hu[i] = steps[start + offset] * found.step; });
    return hu;
  }

  // The highest HU along the view of the voxels in the region; air where there are none.
  function projection(steps, found, plane, air) {
    const hu = blank(found, plane);
    const stride = along(found, plane);
    const length = found.shape[plane.w] * stride;
    eachPixel(found, plane, (i, start) => {
      let highest = air / found.step;
      for (let at = start; at < start + length; at += stride) {
        if (found.region[at] && steps[at] > highest) highest = steps[at];
      }
      hu[i] = highest * found.step;
    });
    return hu;
  }

  // The vessels' codes of a slice, or the highest along the view.
  function layer(codes, found, plane, number) {
    const seen = new Uint8Array(found.shape[plane.u] * found.shape[plane.v]);
    const stride = along(found, plane);
    const [first, last] = number === null ? [0, found.shape[plane.w] - 1] : [number, number];
    eachPixel(found, plane, (i, start) => {
      for (let at = start + first * stride; at <= start + last * stride; at += stride) seen[i] = Math.max(seen[i], codes[at]);
    });
    return seen;
  }

  return { inflate, unpack, slice, projection, layer };
})();
