/** What models write after the prompts of samples, many at once. */
import type { LanguageModel } from '@freelunch/models';
import type { Sample } from '@freelunch/tasks';

export interface Written<Problem> {
  sample: Sample<Problem>;
  /** Greedy continuation, the end token included if it came. */
  output: number[];
}

/**
 * Samples whose prompts are equally long are written side by side. They come back in no particular order.
 *
 * @param end token at which a text ends
 * @throws the signal's reason if it is aborted
 */
export async function* greedy<Problem>(
  model: LanguageModel,
  samples: readonly Sample<Problem>[],
  { end, batchSize, signal }: { end: number; batchSize: number; signal: AbortSignal },
): AsyncGenerator<Written<Problem>[]> {
  const byLength = new Map<number, Sample<Problem>[]>();
  for (const sample of samples) {
    const { length } = sample.prompt;
    const group = byLength.get(length);
    if (group === undefined) byLength.set(length, [sample]);
    else group.push(sample);
  }
  for (const group of byLength.values()) {
    for (let at = 0; at < group.length; at += batchSize) {
      const rows = group.slice(at, at + batchSize);
      const outputs: number[][] = rows.map(() => []);
      const maxTokens = rows.reduce(
        (most, { tokens, prompt }) => Math.max(most, tokens.length - prompt.length),
        0,
      );
      const prompts = rows.map(({ prompt }) => prompt);
      for await (const step of model.generate(prompts, { maxTokens, stopTokens: [end], signal }))
        step.forEach((token, row) => token !== undefined && outputs[row].push(token));
      yield rows.map((sample, row) => ({ sample, output: outputs[row] }));
    }
  }
}

/** Tokens of the continuation that are not as they should be; missing ones and ones too many count. */
export function wrongTokens({ sample, output }: Written<unknown>): number {
  const wanted = sample.tokens.slice(sample.prompt.length);
  let wrong = Math.abs(wanted.length - output.length);
  for (let i = 0; i < Math.min(wanted.length, output.length); i++) if (wanted[i] !== output[i]) wrong++;
  return wrong;
}
