/** Runs in workerd, which compiles no bytes: the binary is a module of the worker. Answers with what it computes. */
import binary from './simd.wasm';
import { loadKernels } from '@freelunch/kernels';
import { digests } from '../digest.ts';

export default {
  async fetch() {
    try {
      const files = await digests(await loadKernels({ source: binary, variant: 'simd' }));
      const { threads } = await loadKernels({ source: binary, variant: 'simd', threads: 'auto' });
      return Response.json({ files, threads });
    } catch (error) {
      return Response.json({ error: error.stack });
    }
  },
};
