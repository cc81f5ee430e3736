/**
 * Where the parameters of a model stand in a checkpoint.
 *
 * Inside a model each has a path, the same in every architecture: `embedding.weight`, `positions.weight`,
 * `final_norm.weight`, `head.weight`, and in a layer `layers.3.mixer_norm.weight`, `layers.3.mamba2.in_proj.weight` (by the
 * type of the mixer), `layers.3.mlp_norm.weight`, `layers.3.mlp.up_proj.weight`. A layout says what an architecture calls
 * them. That is the name which users see, and that of the tensor in the file, except where one tensor of the file holds
 * several parameters.
 */
import type { ResolvedConfig, ResolvedMixer } from '@freelunch/config';
import type { ParameterSpec } from '../mixers/parameters.js';

/** What an architecture calls modules and parameters: by the beginning of their path, of which the longest counts. */
type Renaming = Readonly<Record<string, string>>;

/** A tensor that holds several parameters, one after the other along the first axis. */
export type Packed =
  | readonly string[]
  | {
      parts: readonly string[];
      /** The tensor is that many blocks, such as heads, each with its share of every part. */
      blocks: (mixer: ResolvedMixer) => number;
    };

export interface Layout {
  /** Outside the layers. */
  readonly model: Renaming;
  /** What names in a layer begin with; `#` stands for its number. */
  readonly layer: string;
  /** In a layer. A type of mixer that is not there has the name of `mixer`. */
  readonly modules: Renaming;
  /** By names of the file in a layer, the paths of what they hold. It holds for `.weight` and `.bias` alike. */
  readonly packed?: Readonly<Record<string, Packed>>;
  /** The name of a tensor in a file that calls it otherwise; undefined for a buffer that is no weight. */
  readonly read?: (name: string) => string | undefined;
}

function renamed(table: Renaming, path: string): string | undefined {
  for (let end = path.length; end > 0; end = path.lastIndexOf('.', end - 1)) {
    const module = path.slice(0, end);
    if (Object.hasOwn(table, module)) return table[module] + path.slice(end);
  }
  return undefined;
}

function splitPath(path: string): { layer: string; inside: string } | undefined {
  const [, layer, inside] = /^layers\.(\d+)\.(.+)$/.exec(path) ?? [];
  return inside === undefined ? undefined : { layer, inside };
}

const atLayer = (layout: Layout, layer: string, name: string): string =>
  layout.layer.replace('#', layer) + name;

/** What an architecture calls a parameter. @throws Error if it has no name for it: a slip of ours */
export function nameOf(layout: Layout, path: string): string {
  const at = splitPath(path);
  if (at === undefined) {
    const name = renamed(layout.model, path);
    if (name === undefined) throw new Error(`no name for ${path}`);
    return name;
  }
  const { layer, inside } = at;
  const ofAnyMixer = `mixer${inside.slice(inside.indexOf('.'))}`;
  const name = renamed(layout.modules, inside) ?? renamed(layout.modules, ofAnyMixer);
  if (name === undefined) throw new Error(`no name for ${path}`);
  return atLayer(layout, layer, name);
}

/** Rows of a parameter in a tensor of a file. A vector has rows of one element. */
export interface Piece {
  spec: ParameterSpec;
  /** The first row of the tensor. */
  row: number;
  /** The first row of the parameter. */
  from: number;
  count: number;
}

/** A tensor of a file. */
export interface FileTensor {
  name: string;
  shape: readonly number[];
  /** In the order of its rows, all of which they fill. */
  pieces: readonly Piece[];
}

/** Whether a tensor is a parameter and nothing else. */
export const isWhole = ({ pieces }: FileTensor): boolean =>
  pieces.length === 1 && pieces[0].count === pieces[0].spec.shape[0];

const whole = (spec: ParameterSpec, name = spec.name): FileTensor => ({
  name,
  shape: spec.shape,
  pieces: [{ spec, row: 0, from: 0, count: spec.shape[0] }],
});

/** The tensor that holds these parameters. */
function pack(name: string, parts: readonly ParameterSpec[], blocks: number): FileTensor {
  const pieces: Piece[] = [];
  let row = 0;
  for (let block = 0; block < blocks; block++)
    for (const spec of parts) {
      const count = spec.shape[0] / blocks;
      const last = pieces.at(-1);
      if (last?.spec === spec) last.count += count;
      else pieces.push({ spec, row, from: block * count, count });
      row += count;
    }
  return { name, shape: [row, ...parts[0].shape.slice(1)], pieces };
}

/**
 * The tensors of a file with these parameters.
 *
 * @param packs whether tensors hold several parameters where the architecture has it so
 */
export function fileTensors(
  layout: Layout,
  { mixers }: ResolvedConfig,
  specs: readonly ParameterSpec[],
  packs: boolean,
): FileTensor[] {
  if (!packs || layout.packed === undefined) return specs.map((spec) => whole(spec));
  const byPath = new Map(specs.map((spec) => [spec.path, spec]));
  const tables = Object.entries(layout.packed).map(([name, packed]) =>
    'parts' in packed ? { name, ...packed } : { name, parts: packed, blocks: () => 1 },
  );
  const done = new Set<ParameterSpec>();
  const tensors: FileTensor[] = [];
  for (const spec of specs) {
    if (done.has(spec)) continue;
    const at = splitPath(spec.path);
    const found =
      at &&
      tables.flatMap(({ name, parts, blocks }) => {
        const part = parts.find((one) => at.inside.startsWith(`${one}.`));
        if (part === undefined) return [];
        const suffix = at.inside.slice(part.length);
        const members = parts.flatMap((one) => byPath.get(`layers.${at.layer}.${one}${suffix}`) ?? []);
        // A part may be absent, as a gate that the model does not have: the others go by their names then.
        if (members.length < parts.length) return [];
        const count = blocks(mixers[Number(at.layer)]);
        return [{ members, tensor: pack(atLayer(layout, at.layer, name + suffix), members, count) }];
      })[0];
    if (found === undefined) tensors.push(whole(spec));
    else {
      for (const member of found.members) done.add(member);
      tensors.push(found.tensor);
    }
  }
  return tensors;
}
