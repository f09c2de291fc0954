# docker build --build-arg DEVICE=cpu -t ncct-cta .        (or DEVICE=cuda; run that with --gpus all)
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" ncct-cta infer --input scan.nii.gz --output out
FROM python:3.11-slim AS build
ARG DEVICE=cpu
WORKDIR /source
COPY docker/install.sh docker/
COPY setup.cfg setup.py pyproject.toml README.md LICENSE ./
COPY bundles bundles
COPY configs configs
COPY ncct_cta ncct_cta
RUN sh docker/install.sh "$DEVICE" /source /opt/ncct-cta

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 ncct
COPY --from=build /opt/ncct-cta /opt/ncct-cta
# Whoever runs it may have no home and no name: caches go where anyone may write.
ENV PATH=/opt/ncct-cta/bin:$PATH MPLCONFIGDIR=/tmp/matplotlib PYTHONUNBUFFERED=1
USER ncct
WORKDIR /data
ENTRYPOINT ["ncct-cta"]
CMD ["--help"]
