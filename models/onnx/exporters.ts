/** How the models of other tools become ONNX: the lines that their files are answered with. EXPORT.md says them, too. */

import { basename, extname } from 'node:path';

/** A tool that networks come from. */
export interface Exporter {
  readonly tool: string;
  /** Endings of its files, or whole names. */
  readonly files: readonly string[];
  /** What to run; MODEL stands for the file. */
  readonly lines: readonly [string, string, string];
}

const check = 'sotto check model.onnx';

export const EXPORTERS: readonly Exporter[] = [
  {
    tool: 'PyTorch',
    files: ['.pth', '.pt', '.ckpt'],
    lines: [
      "model.load_state_dict(torch.load('MODEL', map_location='cpu'))  # or model = torch.load(..., weights_only=False)",
      'model.eval()',
      "torch.onnx.export(model, torch.zeros(1, 3, 32, 32), 'model.onnx', dynamo=False)  # your input's shape",
    ],
  },
  {
    tool: 'Keras',
    files: ['.keras', '.h5', '.hdf5'],
    lines: [
      'pip install tensorflow tf2onnx',
      "python -c \"import keras; keras.models.load_model('MODEL').export('saved')\"",
      'python -m tf2onnx.convert --saved-model saved --opset 17 --output model.onnx',
    ],
  },
  {
    tool: 'TensorFlow',
    files: ['saved_model.pb', '.pb'],
    lines: [
      'pip install tensorflow tf2onnx',
      'python -m tf2onnx.convert --saved-model FOLDER --opset 17 --output model.onnx  # the folder of saved_model.pb',
      check,
    ],
  },
  {
    tool: 'TensorFlow Lite',
    files: ['.tflite'],
    lines: [
      'pip install tensorflow tf2onnx',
      'python -m tf2onnx.convert --tflite MODEL --opset 17 --output model.onnx',
      check,
    ],
  },
  {
    tool: 'TensorFlow.js',
    files: ['model.json'],
    lines: [
      'pip install tensorflow tf2onnx',
      'python -m tf2onnx.convert --tfjs MODEL --opset 17 --output model.onnx',
      check,
    ],
  },
];

/**
 * What to do with a file that another tool wrote.
 * @returns a sentence and three lines; nothing when no tool here writes such files
 */
export function exportAdvice(path: string): string | undefined {
  const found = EXPORTERS.find(
    ({ files }) => files.includes(basename(path)) || files.includes(extname(path)),
  );
  if (found === undefined) return undefined;
  const lines = found.lines.map((line) => `  ${line.replaceAll('MODEL', path)}`);
  return [`${path} is a model of ${found.tool}: export it to ONNX with`, ...lines].join('\n');
}
