// Copies what the pages need from node_modules to vendor/, with the licences beside it.
// `npm ci` runs it; nothing under vendor/ is committed.
import { cpSync, existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "..", "..", "node_modules");
const vendor = join(here, "vendor");

const files = {
  "htmx.org/dist/htmx.min.js": "htmx.min.js",
  "htmx.org/dist/ext/hx-sse.min.js": "hx-sse.min.js",
  "htmx.org/LICENSE": "htmx.LICENSE.txt",
  // The fonts of reports (api/reports/fonts.py): read on the server, embedded in documents.
  "@embedpdf/fonts-latin/fonts/NotoSans-Regular.ttf": "fonts/NotoSans-Regular.ttf",
  "@embedpdf/fonts-latin/fonts/NotoSans-Bold.ttf": "fonts/NotoSans-Bold.ttf",
  "@embedpdf/fonts-latin/LICENSE": "fonts/NotoSans.LICENSE.txt",
  "@embedpdf/fonts-sc/fonts/NotoSansHans-Regular.otf": "fonts/NotoSansHans-Regular.otf",
  "@embedpdf/fonts-sc/fonts/NotoSansHans-Bold.otf": "fonts/NotoSansHans-Bold.otf",
  "@embedpdf/fonts-sc/LICENSE": "fonts/NotoSansHans.LICENSE.txt",
  "@embedpdf/fonts-tc/fonts/NotoSansHant-Regular.otf": "fonts/NotoSansHant-Regular.otf",
  "@embedpdf/fonts-tc/fonts/NotoSansHant-Bold.otf": "fonts/NotoSansHant-Bold.otf",
  "@embedpdf/fonts-tc/LICENSE": "fonts/NotoSansHant.LICENSE.txt",
};

mkdirSync(vendor, { recursive: true });
for (const [from, to] of Object.entries(files)) cpSync(join(modules, from), join(vendor, to));
if (!existsSync(join(vendor, "htmx.min.js"))) throw new Error("htmx was not copied");
