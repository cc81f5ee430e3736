import type { Kernels } from '@freelunch/kernels';
import { argsOf, type Case, run, runReference, titleOf, upstream } from './cases/case.ts';
import { cases } from './cases/index.ts';

/** A hash of all outputs, forward and backward, of each case at each size. */
export async function digests(k: Kernels, of: Case[] = cases): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const c of of) {
    for (const size of c.sizes) {
      const args = argsOf(c, size);
      const outputs = run(k, c.op, args, c.updates);
      if (c.backward !== undefined) {
        const up = upstream(c, size, runReference(c.op, args));
        Object.assign(outputs, run(k, `${c.op}Backward`, { ...args, ...up }));
      }
      const parts = Object.keys(outputs)
        .sort()
        .map((name) => outputs[name].data);
      const bytes = new Uint8Array(parts.reduce((total, part) => total + part.byteLength, 0));
      let offset = 0;
      for (const part of parts) {
        bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), offset);
        offset += part.byteLength;
      }
      const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
      found[`${titleOf(c)} ${JSON.stringify(size)}`] = Array.from(hash, (byte) =>
        byte.toString(16).padStart(2, '0'),
      ).join('');
    }
  }
  return found;
}
