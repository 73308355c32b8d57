# `docker build --tag cityair .`, then `docker run --rm cityair --help`; docker-compose.kafka.yml runs a whole city.

FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY config config
COPY cityair cityair
COPY schemas schemas
COPY flows flows
COPY sinks sinks
RUN python -m venv /opt/cityair \
    && /opt/cityair/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt .
# Compiled once here; on a machine with another processor the first start compiles again, into the same folder.
ENV NUMBA_CACHE_DIR=/opt/compiled
WORKDIR /
RUN /opt/cityair/bin/python -c 'import flows.cli.run'

FROM python:3.12-slim
# A user without a shell or a password; a new volume takes the owner that its folder has here.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin cityair \
    && install --directory --owner cityair --group cityair /data /data/lake /data/recovery
COPY --from=build /opt/cityair /opt/cityair
COPY --from=build --chown=cityair /opt/compiled /opt/compiled
ENV PATH=/opt/cityair/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 NUMBA_CACHE_DIR=/opt/compiled
USER cityair
WORKDIR /data
ENTRYPOINT ["cityair"]
CMD ["--help"]
