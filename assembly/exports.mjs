/**
 * A transform of asc: writes the types of all exported kernels, by the signatures in the sources, as a TypeScript
 * interface beside the binary (`exports.ts`).
 */
import { CommonFlags, NodeKind, SourceKind } from 'assemblyscript';
import { Transform } from 'assemblyscript/transform';

/** What a JavaScript caller gives or gets for a WASM type. */
const types = { usize: 'number', i32: 'number', f32: 'number', f64: 'number', bool: 'boolean', void: 'void' };

export default class WriteExports extends Transform {
  async afterParse(parser) {
    const sources = new Map(parser.sources.map((source) => [source.internalPath, source]));
    const entry = parser.sources.find(
      ({ sourceKind, internalPath }) =>
        sourceKind === SourceKind.UserEntry && !internalPath.startsWith('~lib/'),
    );
    const members = [...exportedFunctions(entry, sources)].map(describe).sort();
    const text = `/** Written by assembly/build.mjs: the kernels as compiled, functions on addresses and sizes, which check nothing. */
export interface WasmExports {
${members.join('\n')}
}
`;
    await this.writeFile('exports.ts', text, this.baseDir);
  }
}

/** All functions that a source exports, with those that it passes on from others. */
function* exportedFunctions(source, sources) {
  for (const statement of source.statements) {
    if (statement.kind === NodeKind.FunctionDeclaration && statement.is(CommonFlags.Export)) yield statement;
    if (statement.kind !== NodeKind.Export || statement.internalPath === null) continue;
    const passed = new Set(statement.members?.map(({ localName }) => localName.text));
    const target = sources.get(statement.internalPath) ?? sources.get(`${statement.internalPath}/index`);
    for (const declaration of exportedFunctions(target, sources)) {
      if (statement.members === null || passed.has(declaration.name.text)) yield declaration;
    }
  }
}

function describe({ name, signature }) {
  const typeOf = ({ name }) => types[name.identifier.text];
  const parameters = signature.parameters.map(({ name, type }) => `${name.text}: ${typeOf(type)}`);
  const result = typeOf(signature.returnType) === 'boolean' ? 'number' : typeOf(signature.returnType);
  return `  ${name.text}: (${parameters.join(', ')}) => ${result};`;
}
