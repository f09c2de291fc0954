"""setup.cfg says what the package is; the bundle and the presets lie beside it and are installed within it."""

from setuptools import find_packages, setup

BESIDE = {"ncct_cta.bundle": "bundles/ncct_cta", "ncct_cta.presets": "configs"}

setup(
    packages=[*find_packages(include=["ncct_cta", "ncct_cta.*"]), *BESIDE],
    package_dir={"ncct_cta": "ncct_cta", **BESIDE},
)
