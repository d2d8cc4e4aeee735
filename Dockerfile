# One image per role: `api` (no torch, no lightgbm), `fit-worker`, `train-worker`.
FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1
RUN useradd --uid 10001 --create-home mixwright
WORKDIR /srv

FROM base AS build
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY pyproject.toml constraints.txt README.md ./
COPY mixwright mixwright
COPY app app
COPY workers workers
COPY migrations migrations
COPY sdk sdk

FROM build AS build-api
RUN pip install -c constraints.txt ./sdk .

FROM build AS build-fit
RUN pip install -c constraints.txt ./sdk '.[fit]'

FROM build AS build-train
RUN pip install -c constraints.txt ./sdk '.[train]'

FROM base AS api
COPY --from=build-api /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
USER mixwright
EXPOSE 8000
CMD ["mixwright", "serve", "--host", "0.0.0.0", "--port", "8000"]

FROM base AS fit-worker
# LightGBM is linked against the OpenMP runtime.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build-fit /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
USER mixwright
CMD ["mixwright", "worker", "--queue", "fit"]

FROM base AS train-worker
RUN mkdir /checkpoints /corpora && chown mixwright /checkpoints
COPY --from=build-train /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
USER mixwright
CMD ["mixwright", "worker", "--queue", "train"]
