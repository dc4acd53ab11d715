# The service, with the champion inside: `make image`, or `docker build .` in a trained clone.
# The target `pipeline` holds what `dvc repro` and `mlref register` need in a clone that is mounted at /clone.

# A digest pins the base: --build-arg BASE=python:3.12-slim-bookworm@sha256:…
ARG BASE=python:3.12-slim-bookworm

# From the bundle store, the champion and its record alone. All is copied, as a COPY of the store would
# fail without a word of advice where there is none.
FROM ${BASE} AS champion
WORKDIR /clone
COPY . .
RUN test -f models/store/champion || { echo "There is no champion yet: run 'make train' first." >&2; exit 1; }
WORKDIR /clone/models/store
RUN mkdir /store && cp -r champion "$(cat champion)" "$(cat champion).json" /store && chmod -R go=rX /store

# uv, as the lock of the developers pins it.
FROM ${BASE} AS uv
WORKDIR /build
COPY requirements/dev.txt .
RUN awk '/^[^ #]/ {wanted = /^uv==/} wanted' dev.txt > uv.txt \
    && pip install --no-cache-dir --require-hashes --target /opt/uv --requirement uv.txt

FROM ${BASE} AS build
WORKDIR /build
ENV VIRTUAL_ENV=/opt/venv UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
COPY --from=uv /opt/uv/bin/uv /usr/local/bin/
RUN uv venv "$VIRTUAL_ENV"

# Apart from the packages, so that a change of code changes a small layer.
FROM build AS mlref
COPY requirements/dev.txt pyproject.toml README.md LICENSE ./
COPY src src
RUN uv build --wheel --build-constraints dev.txt --require-hashes \
    && uv pip install --no-deps --prefix /opt/mlref dist/*.whl

# What the service never loads goes: tests, types, tools that train and convert models, symbols for a debugger.
FROM build AS service-packages
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends binutils
COPY requirements/serve.txt .
RUN uv pip install --require-hashes --requirement serve.txt \
    && find "$VIRTUAL_ENV" -type d \( -name tests -o -path '*/onnxruntime/quantization' -o -path '*/onnxruntime/tools' \
        -o -path '*/onnxruntime/transformers' -o -path '*/numpy/f2py' -o -path '*/sqlalchemy/testing' \) -prune -exec rm -r {} + \
    && find "$VIRTUAL_ENV" -name '*.py[ix]' -delete \
    && find "$VIRTUAL_ENV" -name '*.so' \( -path '*/sqlalchemy/*' -o -path '*/uvloop/*' -o -path '*/yaml/*' \) -exec strip --strip-debug {} +

FROM build AS pipeline-packages
COPY requirements/train.txt .
RUN uv pip install --require-hashes --requirement train.txt

# The kernel drops a signal that the first process of a container has not asked for, and Python asks late:
# without an init, a stop during the start would wait for the kill. Debian keeps one version, so none is pinned.
FROM ${BASE} AS runtime
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
ENV PATH=/opt/venv/bin:$PATH

FROM runtime AS pipeline
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY --from=pipeline-packages /opt/venv /opt/venv
COPY --from=mlref /opt/mlref /opt/venv
# The code that runs is the clone's, as dvc.lock records it. Some tools want a home that can be written to.
ENV PYTHONPATH=/clone/src HOME=/tmp
WORKDIR /clone
USER 10001:10001
ENTRYPOINT ["tini", "--"]
CMD ["sh", "-c", "dvc repro && mlref register"]

FROM runtime AS service
WORKDIR /srv
COPY --from=service-packages /opt/venv /opt/venv
COPY --from=mlref /opt/mlref /opt/venv
COPY --from=champion /store models/store
# A bundle that does not load fails the build. It also compiles what the service imports of the standard
# library, which the base ships as source: a third of the time to start.
RUN python -c "from mlref.serving.server import Project, Store; Store(Project.here().store).open('champion')"
USER 10001:10001
EXPOSE 8000
# bash, because starting a Python takes thirty times its CPU.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/8000 && printf 'GET /health/ready HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q ' 200 ' <&3"]
ENTRYPOINT ["tini", "--", "mlref"]
# A read-only container has no room for the prediction log: it keeps one when it is run with MLREF_NO_LOG=0, the
# URL of a database in MLREF_LOG_URL, and a folder for outages in MLREF_LOG_SPOOL.
ENV MLREF_NO_LOG=1
# A balancer or ingress bounds clients; without one, run it with MLREF_BEHIND_PROXY=0.
ENV MLREF_BEHIND_PROXY=1
# On all addresses it starts only with MLREF_API_KEYS, which are given when it is run and not in the image.
CMD ["serve", "--host", "0.0.0.0"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mlref" \
    org.opencontainers.image.description="Predictions of one tabular model over HTTP" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
