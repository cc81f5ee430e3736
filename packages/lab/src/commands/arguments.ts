/** What the commands' arguments have in common. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
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
    // Only the first sentence: the others say how to pass a file that begins with a dash.
    const [sentence] = (cause as Error).message.split(/\.\s|\n/);
    throw new InputError(`${sentence.replace(/\.$/, '')}; see freelunch ${command} --help`, { cause });
  }
}

/** @throws InputError unless the text is a whole number from `least` to `greatest` */
export function wholeNumber(name: string, text: string, least: number, greatest: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (!(value >= least && value <= greatest))
    throw new InputError(`${name} must be a whole number from ${least} to ${greatest}, got '${text}'`);
  return value;
}
