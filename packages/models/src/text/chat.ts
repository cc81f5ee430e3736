/**
 * Chat templates, `@freelunch/models/chat`: a conversation as the one text that a chat model was trained on. They are in
 * Jinja, which the package `@huggingface/jinja` reads: only users of this entry need it.
 */
import { isObject } from '@freelunch/config';
import { ArgumentError, checkOptions, FormatError, show, UnsupportedError } from '@freelunch/errors';
import { readAll } from '../checkpoints/byte-source.js';
import { type Folder, readJson } from '../checkpoints/folder.js';
import { readGgufHeader } from '../checkpoints/gguf/header.js';
import { Missing } from '../checkpoints/placeholder.js';
import { type ModelSource, openSource } from '../checkpoints/source.js';
import { sourceOptionNames, type SourceOptions } from '../checkpoints/source-options.js';

/** Far longer than any template that is published. */
const LONGEST_TEMPLATE = 2 ** 20;
const MAXIMUM_BYTES = 200_000_000;

export interface ChatMessage {
  /** `system`, `user`, `assistant`, or another that the template knows. */
  role: string;
  content: string;
  /** What else a template reads, such as `tool_calls`. */
  [name: string]: unknown;
}

export interface RenderOptions {
  /** Whether the text ends with what opens an answer; true if absent. */
  addGenerationPrompt?: boolean;
  /** Descriptions of functions, as the template takes them. */
  tools?: readonly object[];
  /** What else the template reads, by name: `enable_thinking`, for instance. */
  variables?: Readonly<Record<string, unknown>>;
}

export interface ChatTemplate {
  /** The text of the template. */
  readonly template: string;
  /**
   * A conversation as one text. Marks of its begin and end are in it: encode it with `{ special: false }`.
   * @throws ArgumentError for messages that are none; FormatError with what the template says against them
   */
  render(messages: readonly ChatMessage[], options?: RenderOptions): string;
}

/**
 * A chat template from its text.
 *
 *   const chat = await chatTemplate(text, { bos_token: '<s>', eos_token: '</s>' });
 *   const ids = tokenizer.encode(chat.render([{ role: 'user', content: 'Hello' }]), { special: false });
 *   for await (const piece of generateText(model, tokenizer, ids)) ...
 *
 * @param variables  what the template reads besides messages: `bos_token`, `eos_token`
 * @throws FormatError if the template is none, UnsupportedError if @huggingface/jinja is not installed
 */
export async function chatTemplate(
  template: string,
  variables: Readonly<Record<string, unknown>> = {},
): Promise<ChatTemplate> {
  return make('chatTemplate', template, variables);
}

/**
 * The chat template that lies beside a checkpoint: in chat_template.jinja, in tokenizer_config.json or in a GGUF file.
 *
 * @param source   as `loadPretrained` takes it
 * @param options  of servers, as `loadPretrained` takes them; `name`: which of several templates, `default` if absent
 * @throws FormatError if there is none; UnsupportedError if @huggingface/jinja is not installed; FileError
 */
export async function loadChatTemplate(
  source: ModelSource,
  options: SourceOptions & { name?: string } = {},
): Promise<ChatTemplate> {
  const where = 'loadChatTemplate';
  checkOptions(where, options, ['name', ...sourceOptionNames]);
  const { name = 'default', ...ofSource } = options;
  if (typeof name !== 'string') throw new ArgumentError(`${where}: name must be a text, got ${show(name)}`);
  const opened = await openSource(where, source, ofSource);
  const { template, variables } =
    opened.file === undefined
      ? await ofFolder(opened.folder, name)
      : await ofGguf(opened.file).finally(opened.close);
  return make(where, template, variables);
}

interface Found {
  template: string;
  variables: Record<string, unknown>;
}

async function ofFolder(folder: Folder, name: string): Promise<Found> {
  const config = await readJson(folder, 'tokenizer_config.json', MAXIMUM_BYTES);
  const json = isObject(config) ? config : {};
  const variables: Record<string, unknown> = {};
  for (const token of ['bos_token', 'eos_token', 'unk_token', 'pad_token']) {
    const value = isObject(json[token]) ? json[token].content : json[token];
    if (typeof value === 'string') variables[token] = value;
  }
  const file = await folder.open('chat_template.jinja');
  if (!(file instanceof Missing)) {
    try {
      return { template: new TextDecoder().decode(await readAll(file, LONGEST_TEMPLATE)), variables };
    } finally {
      await file.close();
    }
  }
  const given = json.chat_template;
  if (typeof given === 'string') return { template: given, variables };
  const list: unknown[] = Array.isArray(given) ? given : [];
  const named = list.filter(isObject).filter((entry) => typeof entry.template === 'string');
  const found = named.find((entry) => entry.name === name);
  if (found !== undefined) return { template: found.template as string, variables };
  throw new FormatError(
    named.length === 0
      ? `${folder.name}: must hold a chat template, got none in chat_template.jinja or tokenizer_config.json`
      : `${folder.name}: must hold a chat template '${name}', got ${named.map((entry) => show(entry.name)).join(', ')}`,
  );
}

async function ofGguf(file: Parameters<typeof readGgufHeader>[0]): Promise<Found> {
  const { header } = await readGgufHeader(file);
  const { metadata } = header;
  const template = metadata.get('tokenizer.chat_template');
  if (typeof template !== 'string')
    throw new FormatError(`${file.name}: must hold tokenizer.chat_template, got ${show(template)}`);
  const tokens = metadata.get('tokenizer.ggml.tokens');
  const variables: Record<string, unknown> = {};
  for (const [variable, field] of [
    ['bos_token', 'bos'],
    ['eos_token', 'eos'],
  ]) {
    const id = Number(metadata.get(`tokenizer.ggml.${field}_token_id`) ?? NaN);
    if (Array.isArray(tokens) && typeof tokens[id] === 'string') variables[variable] = tokens[id];
  }
  return { template, variables };
}

async function make(
  where: string,
  template: string,
  given: Readonly<Record<string, unknown>>,
): Promise<ChatTemplate> {
  if (typeof template !== 'string' || template.length > LONGEST_TEMPLATE)
    throw new ArgumentError(
      `${where}: template must be a text of at most ${LONGEST_TEMPLATE} characters, got ${show(template)}`,
    );
  if (!isObject(given)) throw new ArgumentError(`${where}: variables must be an object, got ${show(given)}`);
  const { Template } = await jinja(where);
  let parsed: InstanceType<typeof Template>;
  try {
    parsed = new Template(template);
  } catch (cause) {
    throw new FormatError(`${where}: template must be Jinja: ${(cause as Error).message}`, { cause });
  }
  const before = { ...given };
  return {
    template,
    render(messages, options = {}) {
      checkOptions('render', options, ['addGenerationPrompt', 'tools', 'variables']);
      checkMessages(messages);
      const { addGenerationPrompt = true, tools, variables } = options;
      if (typeof addGenerationPrompt !== 'boolean')
        throw new ArgumentError(
          `render: addGenerationPrompt must be true or false, got ${show(addGenerationPrompt)}`,
        );
      const context = {
        ...before,
        ...variables,
        messages,
        tools,
        add_generation_prompt: addGenerationPrompt,
      };
      try {
        return parsed.render(context);
      } catch (cause) {
        throw new FormatError(`render: the template refuses these messages: ${(cause as Error).message}`, {
          cause,
        });
      }
    },
  };
}

function checkMessages(messages: readonly ChatMessage[]): void {
  if (!Array.isArray(messages))
    throw new ArgumentError(`render: messages must be a list, got ${show(messages)}`);
  messages.forEach((message: unknown, i) => {
    if (!isObject(message) || typeof message.role !== 'string')
      throw new ArgumentError(
        `render: messages[${i}] must be an object with role and content, got ${show(message)}`,
      );
  });
}

async function jinja(where: string): Promise<typeof import('@huggingface/jinja')> {
  try {
    return await import('@huggingface/jinja');
  } catch (cause) {
    throw new UnsupportedError(
      `${where}: the package @huggingface/jinja is needed: npm install @huggingface/jinja`,
      { cause },
    );
  }
}
