# One image for every process; the command says which. Dependencies are pinned and hashed.
FROM python:3.13-slim

RUN useradd --create-home --uid 10001 goalpost && install -d -o goalpost /data /app
WORKDIR /app
COPY requirements/run.txt requirements/run.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md ./
COPY schemas schemas
COPY runtime runtime
COPY producers producers
COPY streams streams
COPY sinks sinks
COPY sandbox sandbox
COPY goalpost goalpost
RUN pip install --no-cache-dir --no-deps --no-build-isolation .
USER goalpost
# A container's loopback is of no use to who asks from outside. Publish this port to nobody but your monitoring.
ENV GOALPOST_HEALTH_HOST=0.0.0.0
VOLUME /data
CMD ["goalpost", "--help"]
