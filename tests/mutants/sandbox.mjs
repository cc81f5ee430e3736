/** A copy of all that the kernel tests run, in which a mutant's binary can take the place of the real one. */
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { basename, join, relative } from 'node:path';

const root = join(import.meta.dirname, '../..');

/** Folders of tests/ that are no kernel tests. */
const leftOut = new Set(['browser', 'mutants', 'node_modules', 'packed', 'runtimes', '.vitest-attachments']);

/** Fills the empty folder `sandbox`. */
export function fillSandbox(sandbox) {
  for (const name of ['package.json', 'tsconfig.base.json']) cpSync(join(root, name), join(sandbox, name));
  cpSync(join(root, 'tests'), join(sandbox, 'tests'), {
    recursive: true,
    filter: (path) => !leftOut.has(relative(join(root, 'tests'), path)),
  });
  for (const name of readdirSync(join(root, 'packages'))) {
    for (const part of ['package.json', 'dist'])
      cpSync(join(root, 'packages', name, part), join(sandbox, 'packages', name, part), { recursive: true });
  }

  // Everything installed is linked, but our own packages are linked to their copies.
  const modules = join(root, 'node_modules');
  mkdirSync(join(sandbox, 'node_modules', '@freelunch'), { recursive: true });
  for (const name of readdirSync(modules)) {
    if (name !== '@freelunch' && !name.startsWith('.'))
      symlinkSync(join(modules, name), join(sandbox, 'node_modules', name));
  }
  for (const name of readdirSync(join(sandbox, 'packages')))
    symlinkSync(join(sandbox, 'packages', name), join(sandbox, 'node_modules', '@freelunch', name));
}

/** Sources of the kernels: path below assembly/src -> text. */
export function readSources() {
  const folder = join(root, 'assembly/src');
  return Object.fromEntries(
    readdirSync(folder, { recursive: true })
      .filter((path) => path.endsWith('.ts'))
      .sort()
      .map((path) => [path.replaceAll('\\', '/'), readFileSync(join(folder, path), 'utf8')]),
  );
}

/**
 * Test files, relative to tests/, of the compiled kernels: those that import tests/kernels.ts or tests/digest.ts, and no
 * package that is built on kernels; and those that read the binary themselves.
 */
export function kernelTests(sandbox) {
  const tests = join(sandbox, 'tests');
  return readdirSync(tests, { recursive: true })
    .filter((path) => path.endsWith('.test.ts'))
    .filter((path) => {
      const text = readFileSync(join(tests, path), 'utf8');
      const imports = Array.from(text.matchAll(/\bfrom '([^']*)'/g), ([, target]) => target);
      return (
        text.includes('@freelunch/kernels/simd.wasm') ||
        (imports.some((target) => ['kernels.ts', 'digest.ts'].includes(join(path, '..', target))) &&
          !imports.some((target) => /^@freelunch\/(autograd|models)$/.test(target)))
      );
    })
    .sort();
}

/** The doors of a file: those files that index.ts exports and that import it, at whatever remove; without `.ts`. */
export function doorsOf(file, sources) {
  const imports = new Map(
    Object.entries(sources).map(([path, text]) => [
      path,
      Array.from(text.matchAll(/\bfrom '(\.[^']*)'/g), ([, target]) => resolveImport(path, target, sources)),
    ]),
  );
  const reaches = (path, seen = new Set()) => {
    if (path === file) return true;
    if (seen.has(path)) return false;
    seen.add(path);
    return (imports.get(path) ?? []).some((next) => reaches(next, seen));
  };
  const doors = imports.get('index.ts');
  return doors
    .filter((door) => file === 'index.ts' || reaches(door))
    .map((door) => door.replace(/\.ts$/, ''));
}

/** The families that have cases: names of files in tests/cases. */
export function readFamilies(sandbox) {
  const names = readdirSync(join(sandbox, 'tests/cases')).map((name) => basename(name, '.ts'));
  return names.filter((name) => name !== 'case' && name !== 'index');
}

function resolveImport(from, target, sources) {
  const path = join(from, '..', target);
  return [`${path}.ts`, `${path}/index.ts`].find((candidate) => candidate in sources);
}
