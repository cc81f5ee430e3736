/** What the commands' arguments have in common. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { nearest, printable, show } from '@freelunch/errors';
import { InputError } from '../errors.js';

type Options = NonNullable<ParseArgsConfig['options']>;
type Parsed<T extends Options> = ReturnType<
  typeof parseArgs<{ args: string[]; allowPositionals: true; options: T }>
>;

/** @throws InputError if there is an option that is not among these */
export function parseOptions<const T extends Options>(
  command: string,
  args: string[],
  options: T,
): Parsed<T> {
  try {
    return parseArgs({ args, allowPositionals: true, options });
  } catch (cause) {
    throw new InputError(
      `${plainly(cause as NodeJS.ErrnoException, options)}; see freelunch ${command} --help`,
      {
        cause,
      },
    );
  }
}

function plainly({ code, message }: NodeJS.ErrnoException, options: Options): string {
  const name = /'(?:-\w, )?(-[^' ]*)/.exec(message)?.[1] ?? '';
  switch (code) {
    case 'ERR_PARSE_ARGS_UNKNOWN_OPTION': {
      const meant = nearest(name.replace(/^-+/, ''), Object.keys(options));
      return `unknown option ${show(name)}${meant === undefined ? '' : `, did you mean '--${meant}'?`}`;
    }
    case 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE':
      if (/ambiguous/.test(message))
        return `${name} needs a value; one that begins with a dash is written ${name}=VALUE`;
      if (/argument missing/.test(message)) return `${name} needs a value`;
      return `${name} takes no value`;
    default:
      return printable(message.split('\n')[0]);
  }
}

/** @throws InputError unless the text is a whole number from `least` to `greatest` */
export function wholeNumber(name: string, text: string, least: number, greatest: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (!(value >= least && value <= greatest))
    throw new InputError(`${name} must be a whole number from ${least} to ${greatest}, got ${show(text)}`);
  return value;
}

/** @throws InputError unless the text is a number, written with digits, from `least` to `greatest` */
export function decimal(name: string, text: string, least: number, greatest: number): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (!(value >= least && value <= greatest))
    throw new InputError(`${name} must be a number from ${least} to ${greatest}, got ${show(text)}`);
  return value;
}

const LONGEST_LIST = 1000;

/**
 * Whole numbers with commas between them, each once, in the order given.
 *
 * @throws InputError unless each is from `least` to `greatest`
 */
export function wholeNumbers(name: string, text: string, least: number, greatest: number): number[] {
  const parts = text.split(',', LONGEST_LIST + 1);
  if (parts.length > LONGEST_LIST)
    throw new InputError(`${name} must be at most ${LONGEST_LIST} numbers, got ${show(text)}`);
  const values = parts.map((part) => {
    const value = /^\d+$/.test(part) ? Number(part) : NaN;
    if (!(value >= least && value <= greatest))
      throw new InputError(
        `${name} must be whole numbers from ${least} to ${greatest} with commas between them, got ${show(text)}`,
      );
    return value;
  });
  return [...new Set(values)];
}

/** @throws InputError unless the text is one of these */
export function oneOf<T extends string>(name: string, value: string, all: readonly T[]): T {
  if (!(all as readonly string[]).includes(value))
    throw new InputError(`${name} must be one of ${all.join(', ')}, got ${show(value)}`);
  return value as T;
}
