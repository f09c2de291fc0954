"""CT volumes in files: NIfTI, NRRD, MHA and DICOM in, NIfTI out."""
