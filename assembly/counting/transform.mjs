/**
 * A transform of asc: keeps functions whole that a counting build must see called, by taking `@inline` from them.
 * Which they are stands in functions.mjs.
 */
import { Transform } from 'assemblyscript/transform';
import { DecoratorKind } from 'assemblyscript';
import { kindOf } from './functions.mjs';

export default class KeepCalls extends Transform {
  afterParse(parser) {
    for (const source of parser.sources) {
      for (const statement of source.statements) {
        const name = statement.name?.text;
        if (!statement.decorators || name === undefined) continue;
        if (kindOf(`${source.internalPath}/${name}`) === 'counted') continue;
        statement.decorators = statement.decorators.filter(
          ({ decoratorKind }) => decoratorKind !== DecoratorKind.Inline,
        );
      }
    }
  }
}
