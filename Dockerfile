# One image for every part; compose or a cluster says which part a container is. All of it is installed from
# locks with hashes, from whichever index pip is set up for. A mirror of your own is named in a file that
# stays out of the image:  docker build --secret id=pip,src=pip.conf --tag dunlin .

FROM python:3.14-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv --without-pip /opt/dunlin

# Dependencies before sources: they change less often. Wheels only: nothing is compiled, no compiler needed.
COPY requirements.lock requirements-build.lock ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    pip --python /opt/dunlin/bin/python install --require-hashes --only-binary :all: -r requirements.lock \
    && pip install --require-hashes --only-binary :all: -r requirements-build.lock

COPY pyproject.toml README.md LICENSE ./
COPY templates templates
COPY tasks tasks
COPY worker worker
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /dist . \
    && pip --python /opt/dunlin/bin/python install --no-index --no-deps /dist/*.whl

FROM python:3.14-slim
# All files are compiled already; at run time the image is read-only and only /tmp can be written.
ENV PATH=/opt/dunlin/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN pip uninstall --yes --root-user-action ignore pip \
    && groupadd --gid 10001 dunlin \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin dunlin
COPY --from=build /opt/dunlin /opt/dunlin
# Python looks for modules in the working directory too: it must not be one that the process can write to.
WORKDIR /opt/dunlin
USER 10001:10001
ENTRYPOINT ["dunlin"]
CMD ["--help"]
