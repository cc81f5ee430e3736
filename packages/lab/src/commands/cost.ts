/** `freelunch cost`: what a model costs, by formula. */
import { type Cost, cost, figures } from '@freelunch/complexity';
import { grouped } from '../report/format.js';
import { scaled, textTable } from '../report/text-table.js';
import { parseOptions } from './arguments.js';
import { flag } from './shared.js';
import {
  checked,
  commonOptions,
  costEnd,
  costOptions,
  kindOf,
  readConfigs,
  situationHelp,
  situationOptions,
} from './situation.js';
import type { Terminal } from './terminal.js';

const costHelp = `Usage: freelunch cost CONFIG [options]

What a model costs, per layer and per op, from its config alone: parameters,
operations, calls to exp, log, sin and similar, bytes moved, bytes of the state,
and bytes of the outputs of all ops (which training keeps).

${situationHelp}
  --recompute       training computes each block again in its backward pass
  --formulas        the figures of the whole as expressions, with their values
${costEnd}`;

const formulasOf = (tree: Cost) =>
  Object.fromEntries(figures.map((figure) => [figure, String(tree.formulas[figure])]));

/** The tree without formulas: the numbers say it all, except at the top. */
const plain = ({ name, children, ...rest }: Cost): object => ({
  name,
  ...Object.fromEntries(figures.map((figure) => [figure, rest[figure]])),
  children: children.map(plain),
});

/** Runs the command. @throws InputError */
export async function costCommand(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('cost', args, {
    ...situationOptions,
    ...commonOptions,
    recompute: flag,
    formulas: flag,
  });
  if (values.help) return terminal.help(costHelp);
  const options = { ...costOptions(values), recompute: values.recompute };
  const [{ name, config }] = await readConfigs(positionals, terminal.signal, 1, 1);
  const tree = checked(() => cost(config, options));
  if (values.json) {
    const { mode, grain: _, ...rest } = options;
    return terminal.json({
      model: name,
      mode,
      kind: kindOf(options),
      ...rest,
      ...plain(tree),
      formulas: formulasOf(tree),
      values: tree.values,
    });
  }

  const header = ['', 'params', 'FLOPs', 'exps', 'bytes', 'state', 'kept'];
  terminal.say(
    `${options.mode}, batch ${options.batch}, ${grouped(options.promptLength!)} tokens, ${values.dtype}\n\n`,
  );
  terminal.say(textTable(header, treeRows(name, tree), terminal.columns));
  if (values.formulas) {
    const lines = figures.map((figure) => `${figure} = ${tree.formulas[figure]} = ${tree[figure]}\n`);
    const sizes = Object.entries(tree.values).map(([size, value]) => `${size} ${value}`);
    terminal.say(`\n${lines.join('')}\nwith ${sizes.join(', ')}\n`);
  }
}

/** A row per part of a model; layers that are the same are shown once. */
function treeRows(name: string, tree: Cost): string[][] {
  const rows: string[][] = [];
  const add = (part: Cost, depth: number, label: string) => {
    const moved = part.bytesRead + part.bytesWritten;
    const shown = [
      part.params,
      part.flops,
      part.transcendentals,
      moved,
      part.stateBytes,
      part.activationBytes,
    ];
    rows.push([`${'  '.repeat(depth)}${label}`, ...shown.map(scaled)]);
    part.children.forEach((child, i) => {
      const same = (other: Cost | undefined) => other !== undefined && other.formulas === child.formulas;
      if (same(part.children[i - 1])) return;
      let last = i;
      while (same(part.children[last + 1])) last++;
      add(child, depth + 1, last === i ? child.name : `${child.name} to ${last}, each`);
    });
  };
  add(tree, 0, name);
  return rows;
}
