import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArgumentError, FormatError } from '@freelunch/errors';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chatTemplate, loadChatTemplate } from './chat.js';

/** As Llama 2 and ChatML write it, in short. */
const llama =
  "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]{% elif m.role == 'assistant' %} {{ m.content }}{{ eos_token }}{% else %}{{ raise_exception('unknown role ' + m.role) }}{% endif %}{% endfor %}";
const chatml =
  "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
const messages = [
  { role: 'user', content: ' What is lost? ' },
  { role: 'assistant', content: 'Nothing.' },
  { role: 'user', content: 'And kept?' },
];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freelunch-chat-'));
});
afterAll(() => rm(folder, { recursive: true }));
const config = (json: object) => writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(json));

describe('a chat template', () => {
  it('writes a conversation as the model was trained on it', async () => {
    const chat = await chatTemplate(llama, { bos_token: '<s>', eos_token: '</s>' });
    expect(chat.render(messages)).toBe(
      '<s>[INST] What is lost? [/INST] Nothing.</s>[INST] And kept? [/INST]',
    );
    const marked = await chatTemplate(chatml);
    expect(marked.render(messages.slice(2))).toBe(
      '<|im_start|>user\nAnd kept?<|im_end|>\n<|im_start|>assistant\n',
    );
    expect(marked.render(messages.slice(2), { addGenerationPrompt: false })).toBe(
      '<|im_start|>user\nAnd kept?<|im_end|>\n',
    );
  });

  it('is read from tokenizer_config.json, with its tokens, or from chat_template.jinja before it', async () => {
    await config({ chat_template: llama, bos_token: { content: '<s>' }, eos_token: '</s>' });
    expect((await loadChatTemplate(folder)).render(messages.slice(0, 1))).toBe(
      '<s>[INST] What is lost? [/INST]',
    );
    await config({
      chat_template: [
        { name: 'default', template: 'a' },
        { name: 'tool_use', template: 'b' },
      ],
    });
    expect((await loadChatTemplate(folder)).render([])).toBe('a');
    expect((await loadChatTemplate(folder, { name: 'tool_use' })).render([])).toBe('b');
    await expect(loadChatTemplate(folder, { name: 'rag' })).rejects.toThrow(
      "must hold a chat template 'rag', got 'default', 'tool_use'",
    );
    await writeFile(join(folder, 'chat_template.jinja'), 'c');
    expect((await loadChatTemplate(folder)).render([])).toBe('c');
    await rm(join(folder, 'chat_template.jinja'));
    await config({});
    await expect(loadChatTemplate(folder)).rejects.toThrow(/must hold a chat template, got none/);
  });

  it('says what is wrong with itself, with messages and with options', async () => {
    await expect(chatTemplate('{% for %}')).rejects.toThrow(FormatError);
    await expect(chatTemplate(1 as never)).rejects.toThrow(ArgumentError);
    const chat = await chatTemplate(llama);
    expect(() => chat.render([{ role: 'judge', content: '' }])).toThrow(
      /the template refuses these messages: .*unknown role judge/,
    );
    expect(() => chat.render([{ content: 'x' }] as never)).toThrow(
      /messages\[0\] must be an object with role/,
    );
    expect(() => chat.render(messages, { addGeneration: true } as never)).toThrow(
      "did you mean 'addGenerationPrompt'",
    );
    await expect(loadChatTemplate(folder, { names: 'x' } as never)).rejects.toThrow("did you mean 'name'");
  });
});
