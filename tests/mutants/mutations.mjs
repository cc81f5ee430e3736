/**
 * Every way to change one operator in an AssemblyScript source: each is an edit of its text. Most compile; those that
 * do not are left out later.
 */
import { LiteralKind, NodeKind, Parser } from 'assemblyscript';

const OPERATORS = {
  '+': ['-'],
  '-': ['+'],
  '*': ['/', '+'],
  '/': ['*'],
  '%': ['/'],
  '<<': ['>>'],
  '>>': ['<<'],
  '>>>': ['<<'],
  '&': ['|'],
  '|': ['&'],
  '^': ['&'],
  '<': ['<=', '>='],
  '<=': ['<', '>'],
  '>': ['>=', '<='],
  '>=': ['>', '<'],
  '==': ['!='],
  '!=': ['=='],
  '&&': ['||'],
  '||': ['&&'],
  '+=': ['-='],
  '-=': ['+='],
  '*=': ['/='],
  '/=': ['*='],
  '&=': ['|='],
  '|=': ['&='],
};

/** Methods of v128, f32x4, i32x4, f64x2, f32, f64 and Math that stand in for each other. */
const METHODS = {
  add: ['sub'],
  sub: ['add'],
  mul: ['add', 'div'],
  div: ['mul'],
  min: ['max'],
  max: ['min'],
  pmin: ['pmax'],
  pmax: ['pmin'],
  eq: ['ne'],
  ne: ['eq'],
  lt: ['le', 'ge'],
  le: ['lt', 'gt'],
  gt: ['ge', 'le'],
  ge: ['gt', 'lt'],
  lt_s: ['ge_s'],
  gt_s: ['le_s'],
  and: ['or'],
  or: ['and'],
  andnot: ['and'],
  xor: ['and'],
  shl: ['shr_u'],
  shr_u: ['shl'],
  shr_s: ['shr_u'],
};
const NAMESPACES = new Set(['v128', 'i8x16', 'i32x4', 'f32x4', 'f64x2', 'f32', 'f64', 'Math', 'Mathf']);

/** Functions of one argument that a change may take away. */
const WRAPPERS = new Set(['abs', 'neg', 'sqrt', 'floor', 'ceil', 'log', 'exp', 'not']);
const FUNCTIONS = { min: 'max', max: 'min' };

const isNode = (value) => typeof value === 'object' && value !== null && 'kind' in value && 'range' in value;
const isConstant = (name) => /^[A-Z][A-Z0-9_]+$/.test(name) && !name.startsWith('ASC_');
const unchanged = new Set([
  NodeKind.Import,
  NodeKind.Export,
  NodeKind.NamedType,
  NodeKind.FunctionType,
  NodeKind.TypeParameter,
  NodeKind.Decorator,
]);

/** Whether a statement only reads ahead (`touch` of state/rows.ts): no change in it, or in its condition, changes a result. */
const readsAhead = (node) =>
  node.kind === NodeKind.If
    ? node.ifFalse === null && readsAhead(node.ifTrue)
    : node.kind === NodeKind.Expression &&
      node.expression.kind === NodeKind.Call &&
      node.expression.expression.text === 'touch';

/**
 * @param {string} file  for the rows that come out
 * @param {string} text  its source
 * @returns {import('./mutations.mjs').Mutant[]} in the order of the text
 */
export function mutantsOf(file, text) {
  const parser = new Parser();
  parser.parseFile(text, file, true);
  const edits = [];
  const textOf = ({ range }) => text.slice(range.start, range.end);
  let where = '';
  const edit = (start, end, replacement, rule) => edits.push({ start, end, replacement, rule, in: where });
  const replace = (node, replacement, rule) => edit(node.range.start, node.range.end, replacement, rule);

  /** The operator between two nodes, or beside one. */
  const operatorEdits = (from, to) => {
    const between = text.slice(from, to);
    const [operator] = /[-+*/%<>=!&|^]+/.exec(between) ?? [];
    const start = from + between.indexOf(operator);
    for (const other of OPERATORS[operator] ?? []) edit(start, start + operator.length, other, 'operator');
    return operator;
  };

  const shift = (node, by = 1) => {
    replace(node, `(${textOf(node)} + ${by})`, 'bound');
    replace(node, `(${textOf(node)} - ${by})`, 'bound');
  };

  const literal = (node) => {
    const was = textOf(node);
    if (node.literalKind === LiteralKind.Integer) {
      const value = BigInt(was);
      replace(node, String(value + 1n), 'constant');
      replace(node, value > 0n ? String(value - 1n) : '-1', 'constant');
    } else if (node.literalKind === LiteralKind.Float) {
      const value = Number(was);
      replace(node, value === 0 ? '1.0' : `-${was}`, 'constant');
      if (value !== 0) replace(node, /^[\d.]+$/.test(was) ? (value * 1.25).toFixed(9) : `1.25`, 'constant');
    }
  };

  const call = (node) => {
    const { expression, args } = node;
    if (expression.kind === NodeKind.PropertyAccess && NAMESPACES.has(textOf(expression.expression))) {
      const method = expression.property.text;
      for (const other of METHODS[method] ?? []) replace(expression.property, other, 'method');
      if (WRAPPERS.has(method) && args.length === 1)
        replace(node, `(${textOf(args[0])})`, 'function left out');
      if (method === 'bitselect') {
        const [a, b, mask] = args.map(textOf);
        replace(node, `v128.bitselect(${b}, ${a}, ${mask})`, 'branches swapped');
      }
    } else if (expression.kind === NodeKind.Identifier) {
      const name = expression.text;
      const given = args.map(textOf);
      if (name in FUNCTIONS) replace(expression, FUNCTIONS[name], 'method');
      if (WRAPPERS.has(name) && args.length === 1) replace(node, `(${given[0]})`, 'function left out');
      if (name === 'madd') {
        replace(node, `f32x4.sub(f32x4.mul(${given[0]}, ${given[1]}), ${given[2]})`, 'sign');
        replace(node, `f32x4.sub(${given[2]}, f32x4.mul(${given[0]}, ${given[1]}))`, 'sign');
      }
      if (name === 'nmadd')
        replace(node, `f32x4.add(${given[2]}, f32x4.mul(${given[0]}, ${given[1]}))`, 'sign');
    }
  };

  /** `bound`: whether a name here limits a loop or is a stride. */
  const walk = (node, bound = false) => {
    if (unchanged.has(node.kind) || readsAhead(node)) return;
    const outer = where;
    let skipped;
    switch (node.kind) {
      case NodeKind.FunctionDeclaration:
      case NodeKind.VariableDeclaration:
        if (outer === '') where = node.name.text;
        if (node.decorators) skipped = node.decorators;
        break;
      case NodeKind.Binary: {
        const operator = operatorEdits(node.left.range.end, node.right.range.start);
        if (operator === '+=' || operator === '-=') {
          walk(node.left);
          walk(node.right, true);
          return;
        }
        break;
      }
      case NodeKind.UnaryPrefix:
      case NodeKind.UnaryPostfix: {
        const prefix = node.kind === NodeKind.UnaryPrefix;
        const [start, end] = prefix
          ? [node.range.start, node.operand.range.start]
          : [node.operand.range.end, node.range.end];
        const operator = text.slice(start, end).trim();
        if (operator === '++') edit(start, end, '--', 'operator');
        else if (operator === '--') edit(start, end, '++', 'operator');
        else edit(start, end, ' ', 'sign');
        break;
      }
      case NodeKind.Literal:
        literal(node);
        break;
      case NodeKind.Identifier:
        if (bound || isConstant(node.text)) shift(node, bound && node.text.endsWith('ytes') ? 4 : 1);
        break;
      case NodeKind.Call:
        call(node);
        for (const argument of node.args) walk(argument);
        return;
      case NodeKind.PropertyAccess:
        walk(node.expression);
        return;
      case NodeKind.Ternary:
        edit(
          node.ifThen.range.start,
          node.ifElse.range.end,
          `${textOf(node.ifElse)} : ${textOf(node.ifThen)}`,
          'branches swapped',
        );
        break;
      case NodeKind.If:
        replace(node.condition, 'true', 'condition');
        replace(node.condition, 'false', 'condition');
        break;
      case NodeKind.For:
      case NodeKind.While: {
        const { condition } = node;
        if (condition !== null) {
          replace(condition, 'false', 'condition');
          const limit = condition.kind === NodeKind.Binary && condition.right;
          if (limit && limit.kind === NodeKind.Identifier && !isConstant(limit.text)) shift(limit);
        }
        break;
      }
      case NodeKind.Expression:
      case NodeKind.Continue:
      case NodeKind.Break:
        replace(node, '{}', 'statement left out');
        break;
    }
    for (const value of Object.values(node)) {
      if (value === node.name || value === skipped) continue;
      for (const child of Array.isArray(value) ? value : [value]) {
        if (isNode(child) && child.kind !== NodeKind.Source) walk(child, bound);
      }
    }
    where = outer;
  };
  for (const statement of parser.sources[0].statements) walk(statement);

  edits.sort((a, b) => a.start - b.start || a.end - b.end || (a.replacement < b.replacement ? -1 : 1));
  const times = new Map();
  return edits.map((made) => {
    const mutant = {
      file,
      line: text.slice(0, made.start).split('\n').length,
      ...made,
      ...change(text, made),
    };
    const { in: name, was, becomes } = mutant;
    const key = `${name}: ${was} => ${becomes}`;
    times.set(key, (times.get(key) ?? 0) + 1);
    return { ...mutant, occurrence: times.get(key) };
  });
}

/** The source with one edit made. */
export const applied = (text, { start, end, replacement }) =>
  text.slice(0, start) + replacement + text.slice(end);

/** The lines that an edit touches, before and after it, without their comments. */
function change(text, { start, end, replacement }) {
  const first = text.lastIndexOf('\n', start - 1) + 1;
  const next = text.indexOf('\n', end);
  const last = next === -1 ? text.length : next;
  const line = (source) =>
    source
      .replaceAll(/\/\/.*$/gm, '')
      .replaceAll(/\s+/g, ' ')
      .trim();
  return {
    was: line(text.slice(first, last)),
    becomes: line(text.slice(first, start) + replacement + text.slice(end, last)),
  };
}

/** What says which change a mutant is, wherever its file and its line lie. */
export const keyOf = ({ in: name, was, becomes, occurrence }) =>
  `${name}: ${was} => ${becomes}${occurrence > 1 ? ` (occurrence ${occurrence})` : ''}`;
