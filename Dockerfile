# One image for every process; the command says which. Dependencies are pinned and hashed.
FROM python:3.13-slim AS wheel
WORKDIR /source
COPY requirements/build.txt requirements/build.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY runtime runtime
COPY producers producers
COPY streams streams
COPY sinks sinks
COPY goalpost goalpost
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:3.13-slim AS production
RUN useradd --create-home --uid 10001 goalpost && install -d -o goalpost /data /app
WORKDIR /app
COPY requirements/run.txt requirements/run.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/run.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps /wheels/*.whl
USER goalpost
# A container's loopback is of no use to who asks from outside. Publish this port to nobody but your monitoring.
ENV GOALPOST_HEALTH_HOST=0.0.0.0
VOLUME /data
CMD ["goalpost", "--help"]

# The Metrika simulator, for trying things out: the only part of the sandbox that runs in a container.
FROM production AS simulator
COPY sandbox/__init__.py sandbox/__init__.py
COPY sandbox/metrika sandbox/metrika
CMD ["python", "-m", "sandbox.metrika", "--host", "0.0.0.0", "--port", "8084", "--database", "/data/metrika.sqlite"]

# What `docker build .` makes without --target.
FROM production
