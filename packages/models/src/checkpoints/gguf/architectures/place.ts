/** How the elements of a tensor in a GGUF file become those of a parameter, where that is not one to one. */
export type Arrangement =
  /** The file has the matrix the other way round. */
  | { kind: 'transposed' }
  /** The rows of each head: pairs that rotary positions turn lie side by side in the file, half a head apart here. */
  | { kind: 'pairs-to-halves'; nHeads: number }
  /** The file has -exp of what the parameter is. */
  | { kind: 'logarithm' };

/** Where a tensor of a GGUF file belongs. */
export interface Place {
  parameter: string;
  arrangement?: Arrangement;
}

/** The place of a tensor; `ignored` for a buffer that is no weight, undefined for a tensor that has no place. */
export type Places = (name: string) => Place | 'ignored' | undefined;

/** Splits blk.N.module.weight. */
export function inBlock(name: string): { layer: string; module: string; suffix: string } | undefined {
  const match = /^blk\.(\d+)\.(\w+)(|\.weight|\.bias)$/.exec(name);
  return match === null ? undefined : { layer: match[1], module: match[2], suffix: match[3] };
}
