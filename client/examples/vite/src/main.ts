import { connect, pixelsOf, readImage, type Session } from 'sotto';

const form = document.querySelector('form') as HTMLFormElement;
const output = document.querySelector('output') as HTMLOutputElement;
let session: Session | undefined;

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const fields = new FormData(form);
  try {
    session ??= await connect(fields.get('server') as string);
    const bitmap = await readImage(fields.get('image') as File);
    const pixels = pixelsOf(bitmap, session.program.input.shape, 'contain');
    const { label, labelName, stats } = await session.infer(pixels);
    output.textContent = `It is: ${labelName ?? label} (${stats.online.ms.toFixed(0)} ms)`;
    // While the answer is read, the next one is prepared.
    await session.prepare();
  } catch (error) {
    output.textContent = (error as Error).message;
    session = undefined;
  }
});
