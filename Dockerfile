# One image for the workers, the producer and the one-shot `creds`. Dependencies first, the project second; the last stage
# holds no build tools and runs without root. No `# syntax=` line: it would fetch a frontend from a registry.
ARG BASE=python:3.14-slim-trixie

FROM ${BASE} AS build
# An environment without pip; the pip outside fills it.
RUN python -m venv --without-pip /opt/sheaf && python -m venv /opt/build
WORKDIR /source
COPY requirements/run.txt requirements/build.txt requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/build/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements/build.txt \
 && /opt/build/bin/pip --python /opt/sheaf/bin/python install -q --disable-pip-version-check --require-hashes -r requirements/run.txt
# What the user's own tasks need, if anything: without hashes, but never another version of what is installed already.
ARG EXTRA=requirements/extra.txt
COPY ${EXTRA} requirements/extra.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    if grep -q '^[^#[:space:]]' requirements/extra.txt; then \
      sed -nE 's/^([A-Za-z0-9._-]+==[^ ;]+).*/\1/p' requirements/run.txt > /tmp/locked.txt \
   && /opt/build/bin/pip --python /opt/sheaf/bin/python install -q --disable-pip-version-check -r requirements/extra.txt -c /tmp/locked.txt; \
    fi
COPY pyproject.toml README.md LICENSE ./
COPY sheaf sheaf
COPY worker worker
COPY producer producer
RUN /opt/build/bin/pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation --no-index -w /wheel . \
 && /opt/build/bin/pip --python /opt/sheaf/bin/python install -q --disable-pip-version-check --no-deps --no-index /wheel/*.whl

FROM ${BASE}
# Tells whether a page is UTF-8 in a quarter of the time that Python takes. The library's own package has another name in
# each release of Debian, the one with its headers has not. A mirror may be a snapshot: what it signed is not too old.
RUN apt-get -o Acquire::Check-Valid-Until=false update -qq \
 && apt-get install -qq --no-install-recommends libsimdjson-dev > /dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
# Two users in one group: SQLite's side files must be writable for everyone who opens an index, the passwords readable for
# one role only. A fresh named volume takes owner and mode of /data; setgid hands the group on to whatever is made in it.
RUN groupadd --gid 10001 sheaf \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin worker \
 && useradd --uid 10002 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin producer \
 && install -d -o 10001 -g 10001 -m 2775 /data
COPY --chmod=0444 services/creds/creds.py /opt/creds.py
COPY --from=build /opt/sheaf /opt/sheaf
ENV PATH=/opt/sheaf/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp
WORKDIR /data
USER 10001:10001
CMD ["sheaf-worker"]
