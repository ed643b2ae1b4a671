# The serving image: Python, the pinned packages, recoserve and its demo bundle. No torch, no keras, no onnx.

FROM python:3.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/recoserve && python -m venv /opt/build
WORKDIR /src
# The packages change seldom and the code often: layers of their own. What builds (a C compiler, too) stays in this stage.
COPY requirements/serve.txt requirements/build.txt requirements/
RUN /opt/recoserve/bin/pip install --quiet --require-hashes -r requirements/serve.txt
RUN /opt/build/bin/pip install --quiet --require-hashes -r requirements/build.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY service service
COPY model_export model_export
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /opt/wheel . \
 && /opt/recoserve/bin/pip install --quiet --no-deps /opt/wheel/*.whl \
 && /opt/recoserve/bin/pip uninstall --quiet --yes pip \
 && find /opt/recoserve/lib -depth -type d -name tests -path '*/numpy/*' -exec rm -rf {} + \
 && python -m compileall -q /opt/recoserve/lib

FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="recoserve" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin recoserve \
 && mkdir /models
COPY --from=build /opt/recoserve /opt/recoserve
# ONNX Runtime's own wheels report to Microsoft unless this is set before they load.
ENV PATH=/opt/recoserve/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RECOSERVE_HOST=0.0.0.0 \
    RECOSERVE_MODELS=/models
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["recoserve"]
# The bundles in /models; the built-in demo where nothing is mounted there.
CMD ["serve", "--or-demo"]
