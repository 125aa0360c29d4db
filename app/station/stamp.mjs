// Records in dist the hash of what it was built from: tests/station_build.py compares it.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

const fixed = ["index.html", "package-lock.json", "package.json", "vite.config.ts"];
const found = readdirSync("src", { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => `${entry.parentPath}/${entry.name}`);
const hash = createHash("sha256");
for (const name of [...fixed, ...found].sort()) {
  hash.update(`${name}\0`).update(readFileSync(name)).update("\0");
}
writeFileSync("dist/sources.sha256", `${hash.digest("hex")}\n`);
