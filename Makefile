# make check, make test, make slow, make docs: what .ci/run does, in the environment at hand.
.PHONY: check test slow docs settings

export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= passive
export NO_MKDOCS_2_WARNING ?= 1

check:
	ruff check .
	ruff format --check .
	mypy

test:
	pytest

slow:
	pytest -m slow -n 0

docs:
	mkdocs build --strict

# The table at the end of docs/settings.md and the options in inference.yaml, as the code has them now.
settings:
	{ sed '/^| setting |/,$$d' docs/settings.md; python -m ncct_cta.settings; } > docs/settings.md.new
	mv docs/settings.md.new docs/settings.md
	python -m ncct_cta.infer.options_yaml
