# One image for web and worker: the command decides which it is.
FROM node:22-slim AS pages
WORKDIR /build
COPY package.json package-lock.json ./
COPY api/static ./api/static
RUN npm ci --omit=dev --no-audit --no-fund

FROM python:3.13-slim
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --create-home --uid 1000 refdesk
WORKDIR /srv/refdesk
COPY requirements.lock ./
RUN pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY bot bot
COPY kb kb
COPY tracker tracker
COPY --from=pages /build/api/static/vendor api/static/vendor
RUN pip install --no-deps --no-build-isolation --editable . \
    && mkdir var && chown refdesk var
USER 1000
VOLUME /srv/refdesk/var
EXPOSE 8000
ENV REFDESK_HOST=0.0.0.0
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["refdesk", "serve"]
