"""A 3D Slicer module: run ``ncct-cta infer`` on the loaded volume and show both. Research only, not for diagnosis."""

import glob
import os
import shutil
import subprocess
import tempfile

try:
    import ctk
    import qt
    import slicer
    from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget
except ImportError:  # outside Slicer, where the logic is tested
    ScriptedLoadableModule = ScriptedLoadableModuleWidget = object


def infer_command(program, scan, folder, run=""):
    """The words of the command; an empty ``run`` is the starter model."""
    return [program, "infer", "--quiet", "--input", scan, "--output", folder, *(["--run", run] if run else [])]


def synthesise(program, save, load, run=""):
    """Save the scan, run the command outside of Slicer's Python, load what it wrote; raise what it says."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LD_LIBRARY"))}
    folder = tempfile.mkdtemp()
    try:
        scan = os.path.join(folder, "scan.nii.gz")
        save(scan)
        words = infer_command(program, scan, os.path.join(folder, "out"), run)
        done = subprocess.run(words, env=environment, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["ncct-cta failed"])[-1])
        made = glob.glob(
            os.path.join(folder, "out", "*_syncta.nii.gz")
        )  # "scan" says little: it bears the folder's name
        if not made:
            raise FileNotFoundError(f"{program} wrote no CTA; run it by hand to see why")
        return load(made[0])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class NcctCta(ScriptedLoadableModule):
    """The module's entry in Slicer's menu."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title, parent.categories, parent.contributors = "NCCT to CTA", ["Research"], ["ncct-cta"]
        parent.helpText = "Synthesises a CT angiography. Research only; the image is synthetic, not for diagnosis."


class NcctCtaWidget(ScriptedLoadableModuleWidget):
    """Three fields and a button."""

    def setup(self):
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        form = qt.QFormLayout()
        self.volume = slicer.qMRMLNodeComboBox()
        self.volume.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self.volume.setMRMLScene(slicer.mrmlScene)
        self.program, self.run = ctk.ctkPathLineEdit(), ctk.ctkPathLineEdit()
        self.program.currentPath, self.run.filters = shutil.which("ncct-cta") or "", ctk.ctkPathLineEdit.Dirs
        button = qt.QPushButton("Synthesise the CTA")
        button.connect("clicked()", self.apply)
        for words, widget in (("NCCT", self.volume), ("ncct-cta", self.program), ("Run (or none)", self.run)):
            form.addRow(words, widget)
        form.addRow(button)
        self.layout.addLayout(form)

    def apply(self):
        """Run, and show the result over the scan in linked views."""
        scan = self.volume.currentNode()
        with slicer.util.tryWithErrorDisplay("No CTA was made", waitCursor=True):
            save = lambda path: slicer.util.saveNode(scan, path)  # noqa: E731
            made = synthesise(self.program.currentPath, save, slicer.util.loadVolume, self.run.currentPath)
            made.SetName(f"{scan.GetName()} synthetic CTA")
            for name in slicer.app.layoutManager().sliceViewNames():
                slicer.app.layoutManager().sliceWidget(name).sliceLogic().GetSliceCompositeNode().SetLinkedControl(True)
            slicer.util.setSliceViewerLayers(background=scan, foreground=made, foregroundOpacity=0.5)
