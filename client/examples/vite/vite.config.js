import { defineConfig } from 'vite';

// With these headers pages share memory with their workers, which saves copies. Everything works without.
const headers = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

// biome-ignore lint/style/noDefaultExport: it is where Vite looks
export default defineConfig({
  // The client finds its worker beside itself, so it must stay where it is.
  optimizeDeps: { exclude: ['sotto'] },
  worker: { format: 'es' },
  server: { headers },
  preview: { headers },
});
