#!/bin/sh
# The Dockerfile's steps: a virtual environment with the package, for the CPU or for CUDA.
#   docker/install.sh cpu|cuda SOURCE ENVIRONMENT [pip's options]
set -eu
kind=$1 source=$2 environment=$3
shift 3
case $kind in
  cpu) index=https://download.pytorch.org/whl/cpu ;;
  cuda) index= ;; # PyPI's Linux wheels of PyTorch bring CUDA
  *) echo "$kind: expected cpu or cuda" >&2; exit 2 ;;
esac
python3 -m venv "$environment"
if [ -n "$index" ] && [ "${NCCT_CTA_TORCH_INDEX-unset}" != "" ]; then
  "$environment/bin/pip" install --no-cache-dir --index-url "${NCCT_CTA_TORCH_INDEX:-$index}" 'torch>=2.8,<2.14' "$@"
fi
"$environment/bin/pip" install --no-cache-dir "$@" "$source"
"$environment/bin/ncct-cta" --version
