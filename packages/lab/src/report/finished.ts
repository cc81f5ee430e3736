/** findings.json: what an experiment found, as it is kept in its folder. */
import { type Claim, claims, type TableData } from '../experiments/experiment.js';
import { finite, flag, list, object, oneOf, optional, type Shape, text } from '../files/shape.js';
import type { Finished } from './findings-page.js';
import { colours, type Plot, shapes } from './plot.js';

const tick = object({ at: finite, label: text });
const place = { x: finite, y: finite };

const plot: Shape<Plot> = object({
  description: text,
  xLabel: text,
  yLabel: text,
  xTicks: list(tick),
  yTicks: list(tick),
  series: list(
    object({
      name: text,
      colour: oneOf(colours),
      shape: oneOf(shapes),
      points: optional(list(object({ ...place, range: optional(list(finite, 2)), title: text }))),
      line: optional(list(object(place))),
      dashed: optional(flag),
      hollow: optional(flag),
    }),
  ),
});

const table: Shape<TableData> = (value, path) => {
  const { columns, ...rest } = object({ title: text, columns: list(text), caption: optional(text) })(
    value,
    path,
  );
  // A cell for every column.
  const { rows } = object({ rows: list(list(text, columns.length)) })(value, path);
  return { ...rest, columns, rows };
};

const excerpt = object({
  title: text,
  shown: flag,
  texts: list(
    object({
      title: text,
      runs: list(object({ kind: oneOf(['right', 'wrong', 'nothing'] as const), text })),
    }),
  ),
});

export const finishedShape: Shape<Finished> = object({
  name: text,
  summary: text,
  command: text,
  machine: text,
  findings: object({
    text: list(text),
    figures: list(object({ title: text, caption: text, plot })),
    tables: list(table),
    excerpts: optional(list(excerpt)),
    verdicts: list(
      object({
        claim: oneOf(Object.keys(claims) as Claim[]),
        theory: text,
        measured: text,
        agrees: oneOf([true, false, 'partly'] as const),
      }),
    ),
  }),
});
