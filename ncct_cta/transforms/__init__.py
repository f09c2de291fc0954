"""From a case's files to arrays, masks and augmented patches."""
