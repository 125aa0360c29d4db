# The serving image: CPU by default, `--build-arg VARIANT=gpu` for CUDA (the host needs only its driver).
# docker-compose.yml pins the base image by its digest; pass another as `--build-arg BASE=...`.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ARG VARIANT=cpu
COPY requirements/serve-${VARIANT}.txt /tmp/requirements.txt
# Wheels only, so no compiler is ever needed; no pip inside the environment that is shipped. What goes again is
# never loaded when serving: test suites, stubs, ONNX Runtime's tools for preparing models, and its library for
# C++ programs (the Python module holds a second copy of all of it).
RUN python -m venv --without-pip /opt/passline \
 && pip --python /opt/passline install --no-cache-dir --no-compile --no-deps --only-binary :all: \
        --require-hashes -r /tmp/requirements.txt \
 && cd /opt/passline/lib/python3.11/site-packages \
 && rm -rf onnxruntime/transformers onnxruntime/quantization onnxruntime/tools \
        onnxruntime/capi/libonnxruntime.so.* \
 && find . -type d -name tests -prune -exec rm -rf {} + \
 && find . -name '*.pyi' -delete

WORKDIR /opt/passline-app
COPY app app
COPY models models
# The command `passline`, from any folder: the modules are this folder's, the script is one as pip writes it.
RUN echo "$PWD" > /opt/passline/lib/python3.11/site-packages/passline.pth \
 && printf '#!/opt/passline/bin/python\nimport sys\nfrom app.__main__ import main\nsys.exit(main())\n' \
        > /opt/passline/bin/passline \
 && chmod 755 /opt/passline/bin/passline
ENV PATH=/opt/passline/bin:$PATH \
    PASSLINE_BUNDLE_DIR=/opt/passline-app/models/magnetic-tile/6
COPY docker/third_party.py /tmp/third_party.py
RUN python /tmp/third_party.py > THIRD_PARTY_LICENCES.txt
# The bundle must reproduce its golden samples before it ships. The same run leaves the bytecode of the modules
# that serving imports, the standard library's too, where a read-only container will look for it; compileall
# adds what uvicorn and anyio load by name only once they run.
RUN export PYTHONPYCACHEPREFIX=/opt/passline/bytecode ORT_DISABLE_TELEMETRY=1 \
 && passline verify "$PASSLINE_BUNDLE_DIR" \
 && python -c 'import app.main, uvicorn.protocols.http.h11_impl' \
 && python -m compileall -q app /opt/passline/lib/python3.11/site-packages/uvicorn \
        /opt/passline/lib/python3.11/site-packages/anyio

FROM ${BASE}
# The base image's own pip: nothing is installed into a running container.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3.11/ensurepip /usr/local/lib/python3.11/site-packages/*
COPY --from=build /opt/passline /opt/passline
COPY --from=build /opt/passline-app /opt/passline-app
COPY docker/healthcheck.py /opt/passline-app/healthcheck.py
WORKDIR /opt/passline-app
# ONNX Runtime reports to its maker from its first import on; only this variable stops that early enough.
ENV PATH=/opt/passline/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPYCACHEPREFIX=/opt/passline/bytecode \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PASSLINE_BUNDLE_DIR=/opt/passline-app/models/magnetic-tile/6 \
    PASSLINE_DATA_DIR=/data \
    PASSLINE_HOST=0.0.0.0 \
    PASSLINE_PORT=8000
# What the service keeps: a volume mounted here takes over the owner.
RUN install -d -o 10001 -g 10001 /data
# By number: Kubernetes' runAsNonRoot cannot check a name.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python", "healthcheck.py"]
CMD ["passline", "serve"]
