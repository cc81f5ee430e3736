/** Where each task comes from. */
export interface TaskSource {
  text: string;
  /** Absent where the definition is ours or any textbook's. */
  url?: string;
}

const arora = { text: 'Arora et al. 2023, Zoology', url: 'https://arxiv.org/abs/2312.04927' };
const feng = { text: 'Feng et al. 2023, Chain of thought', url: 'https://arxiv.org/abs/2305.15408' };
const fu = { text: 'Fu et al. 2022, H3', url: 'https://arxiv.org/abs/2212.14052' };
const gu = { text: 'Gu & Dao 2023, Mamba', url: 'https://arxiv.org/abs/2312.00752' };
const jelassi = { text: 'Jelassi et al. 2024, Repeat after me', url: 'https://arxiv.org/abs/2402.01032' };
const liu = { text: 'Liu et al. 2022, Shortcuts to automata', url: 'https://arxiv.org/abs/2210.10749' };
const merrill = { text: 'Merrill et al. 2024, Illusion of state', url: 'https://arxiv.org/abs/2404.08819' };
const poli = { text: 'Poli et al. 2024, Mechanistic design', url: 'https://arxiv.org/abs/2403.17844' };
const own = { text: 'own' };
const textbook = { text: 'textbook' };

/** The source of each task of `factories`, by the same names. */
export const sources: Readonly<Record<string, TaskSource>> = {
  arithmetic: feng,
  'associative-recall': fu,
  circuit: arora,
  compression: poli,
  copy: jelassi,
  cyk: textbook,
  'delayed-copy': gu,
  'duplicated-ngrams': jelassi,
  'edit-distance': feng,
  equation: feng,
  'fuzzy-recall': poli,
  'in-context-recall': poli,
  'induction-heads': fu,
  knapsack: textbook,
  'layered-path': own,
  lcs: textbook,
  lis: feng,
  'mad-selective-copy': poli,
  'matrix-chain': textbook,
  memorization: poli,
  'modular-sum': liu,
  mqar: arora,
  'mqar-compositional': arora,
  'mqar-forgetting': arora,
  'ngram-lookup': jelassi,
  'noisy-recall': poli,
  parity: liu,
  'phone-book': jelassi,
  'prefix-max': own,
  'prefix-sum': own,
  recurrence: own,
  'reverse-copy': own,
  'selective-copy': gu,
  'word-problem': merrill,
};
