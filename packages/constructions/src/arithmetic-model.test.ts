import { arithmetic, random } from '@freelunch/tasks';
import { describe, expect, it } from 'vitest';
import { arithmeticProgram } from './arithmetic-model.js';

describe('program', () => {
  for (const mixer of ['softmax-attention', 'linear-attention', 'mamba'] as const)
    for (const size of [1, 2, 3, 5, 8]) {
      it(`${mixer} ${size}`, () => {
        const task = arithmetic({ length: [1, size], p: 11, order: 'canonical' });
        const { program, output } = arithmeticProgram(task, { mixer, size });
        const rng = random(1);
        let [wrong, all] = [0, 0];
        for (let i = 0; i < 200; i++) {
          const { tokens, prompt } = task.sample(rng);
          const rows = program.evaluate(tokens.slice(0, -1));
          for (let t = prompt.length - 1; t + 1 < tokens.length; t++) {
            all++;
            const got = output.at(rows[t]);
            if (got !== tokens[t + 1]) wrong++;
          }
        }
        console.log(mixer, size, wrong, all, program.width, program.blocks.length, program.length);
        expect(wrong).toBe(0);
      });
    }
});
