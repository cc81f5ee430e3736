/**
 * Packs the golden vectors into data/, one file per op: `node pack.mjs DIR`, DIR holding index.json and one safetensors
 * file per case; `node pack.mjs DIR TARGET` packs the models into TARGET, one file per case. All tensors of an op lie behind one another, split into byte planes (all first bytes, all
 * second bytes ...), which gzip likes better than floats: 4.5 MB become 3.4.
 *
 * Cases of whole models have a checkpoint too. Its weights come behind the tensors of the case. Its config may be there
 * twice, as release 5 of Transformers writes it too.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const source = process.argv[2];
const models = process.argv[3];
const target = models ?? join(import.meta.dirname, 'data');
const { cases } = JSON.parse(await readFile(join(source, 'index.json'), 'utf8'));
const widths = { F32: 4, I32: 4, F64: 8 };

/** All first bytes of elements of this width, then all second bytes, and so on. */
function planesOf(bytes, width) {
  const planes = Buffer.alloc(bytes.length);
  const count = bytes.length / width;
  for (let i = 0; i < count; i++)
    for (let b = 0; b < width; b++) planes[b * count + i] = bytes[i * width + b];
  return planes;
}

const ops = new Map();
for (const entry of cases) {
  const { name, op, config, tolerance } = entry;
  if (models !== undefined && op !== 'model') continue;
  const key = models === undefined ? op : name;
  const file = await readFile(join(source, entry.file));
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + headerBytes).toString());
  const tensors = {};
  const packed = ops.get(key) ?? { cases: [], chunks: [] };
  for (const [tensor, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (tensor === '__metadata__') continue;
    const width = widths[dtype];
    const bytes = file.subarray(8 + headerBytes + data_offsets[0], 8 + headerBytes + data_offsets[1]);
    packed.chunks.push(planesOf(bytes, width));
    tensors[tensor] = { dtype, shape };
  }
  const packedCase = { name, op, config, tolerance, tensors };
  if (entry.weights !== undefined) {
    const weights = await readFile(join(source, entry.weights));
    packed.chunks.push(planesOf(weights, 4));
    packedCase.checkpoint = {
      config: await readFile(join(source, entry.config_file), 'utf8'),
      weightBytes: weights.length,
    };
    if (entry.config_file_v5 !== undefined)
      packedCase.checkpoint.configOfRelease5 = await readFile(join(source, entry.config_file_v5), 'utf8');
    packedCase.skipRanges = entry.skip_ranges ?? {};
  }
  packed.cases.push(packedCase);
  ops.set(key, packed);
}

await mkdir(target, { recursive: true });
for (const [op, { cases: packedCases, chunks }] of ops) {
  const header = Buffer.from(JSON.stringify(packedCases));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(header.length);
  await writeFile(
    join(target, `${op}.bin`),
    gzipSync(Buffer.concat([length, header, ...chunks]), { level: 9 }),
  );
}
