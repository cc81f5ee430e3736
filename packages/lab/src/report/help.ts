/** Help texts on terminals of any width. */
import { wrap } from './text-table.js';

/** Where the text of a line begins: after the name of an option, or after the blanks of a line that goes on. */
const indentOf = (line: string): number => /^ {2,}\S.*? {2,}(?=\S)|^ */.exec(line)![0].length;

/** Lines that go on with what the line before them says: as far in as its text, which their own blanks show. */
const goesOn = (line: string, before: string): boolean =>
  line.trim() !== '' && before.trim() !== '' && /^ */.exec(line)![0].length === indentOf(before);

/** A text whose paragraphs and lists of options are broken anew, if it is wider than the terminal. */
export function fitted(text: string, columns: number): string {
  if (text.split('\n').every((line) => line.length <= columns)) return text;
  const blocks: { indent: number; text: string; last: string }[] = [];
  for (const line of text.split('\n')) {
    const block = blocks.at(-1);
    if (block !== undefined && goesOn(line, block.last)) {
      block.text += ` ${line.trim()}`;
      block.last = ' '.repeat(block.indent) + line.trim();
    } else blocks.push({ indent: indentOf(line), text: line, last: line });
  }
  return blocks
    .flatMap(({ indent, text: whole }) => {
      // Half of the terminal is left for the text itself.
      const hanging = Math.min(indent, columns >> 1);
      const [head, body] = [whole.slice(0, indent), whole.slice(indent)];
      if (indent === hanging) return wrapped(head, body, columns, hanging);
      return [head.trimEnd(), ...wrapped(' '.repeat(hanging), body, columns, hanging)];
    })
    .join('\n');
}

const wrapped = (head: string, body: string, columns: number, hanging: number) =>
  wrap(body, columns - hanging).map((line, i) => (i === 0 ? head : ' '.repeat(hanging)) + line);
