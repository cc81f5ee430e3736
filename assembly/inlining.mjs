/**
 * A transform of asc: limits what binaryen inlines. By the limits that asc sets, a fifth of the binary is second copies,
 * and a register tile moves into the loop that calls it, where V8 keeps its accumulators in memory (see
 * src/matrix/tile.ts): attention's backward pass took 17 % longer.
 */
import { Transform } from 'assemblyscript/transform';

/** Sizes in nodes of binaryen's syntax tree, set in place of those that asc sets for -O3. */
const limits = {
  setFlexibleInlineMaxSize: 20,
  setOneCallerInlineMaxSize: 100,
  setAllowInliningFunctionsWithLoops: false,
  setPartialInliningIfs: 0,
};
/** Asked once per call, so that calls cost nothing: how scratch memory is laid out. */
const kept = ['*matrix/scratch/*'];

export default class Inlining extends Transform {
  afterInitialize({ module }) {
    for (const [setter, limit] of Object.entries(limits)) {
      const set = module[setter];
      if (set === undefined) throw new Error(`inlining.mjs: this asc has no ${setter}`);
      module[setter] = () => set.call(module, limit);
    }
  }

  afterCompile(module) {
    for (const pattern of kept) {
      this.binaryen.setPassArgument('no-inline', pattern);
      module.runPasses(['no-inline']);
    }
  }
}
