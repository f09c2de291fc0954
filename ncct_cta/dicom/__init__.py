"""CT series in DICOM files: found, read in HU, and written as a derived series."""
