"""What every part uses: HU, errors, files, precision, names."""
