/**
 * Fields of config.json that do not change what a model computes from its weights, whatever its architecture: tokens
 * and sampling, training, outputs, files, classes that are not language models.
 */
const names: ReadonlySet<string> = new Set(
  (
    'architectures model_type auto_map tokenizer_class tokenizer_name name_or_path finetuning_task language_model ' +
    'torch_dtype dtype transformers_version attn_implementation torchscript use_bfloat16 use_mamba_kernels use_mambapy ' +
    'use_associative_scan use_cache return_dict return_dict_in_generate output_attentions output_hidden_states output_scores ' +
    'output_router_logits num_logits_to_keep router_aux_loss_coef router_jitter_noise chunk_size_feed_forward ' +
    'gradient_checkpointing tf_legacy_loss id2label label2id num_labels problem_type task_specific_params ' +
    'max_length min_length max_new_tokens do_sample early_stopping num_beams num_beam_groups num_return_sequences ' +
    'diversity_penalty temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size ' +
    'encoder_no_repeat_ngram_size bad_words_ids remove_invalid_values exponential_decay_length_penalty ' +
    'suppress_tokens begin_suppress_tokens prefix ' +
    'initializer_range rescale_prenorm_residual residual_in_fp32 max_position_embeddings model_max_length'
  ).split(' '),
);

export const isHarmless = (name: string): boolean =>
  names.has(name) || /^_|^unsloth_|^summary_|_token_id$|_dropout$|_pdrop$/.test(name);
