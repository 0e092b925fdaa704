// Take only those webhooks of Patient Sync whose signature holds.
//   npx -p typescript@5 tsc --target es2022 --module commonjs --lib es2022,dom verify.ts
//   SECRET=whsec_… ID=msg_… TIMESTAMP=… SIGNATURE=v1,… BODY=… node verify.js

interface Message {
  event: "sync.completed" | "sync.failed" | "patients.changed" | "webhook.test"
  organization_id: number
  data: Record<string, unknown>
}

declare const process: { env: Record<string, string>; exitCode: number }

const TOLERANCE = 300 // seconds; older messages may be somebody's recording

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))
}

/** The message, if it was signed with our secret a moment ago; `body` as it came, unparsed. */
export async function verified(secret: string, headers: Headers, body: string): Promise<Message> {
  const sent = headers.get("webhook-timestamp") ?? ""
  if (!/^[0-9]+$/.test(sent) || Math.abs(Date.now() / 1000 - Number(sent)) > TOLERANCE) {
    throw new Error("The message is too old.")
  }
  const algorithm = { name: "HMAC", hash: "SHA-256" }
  const raw = bytesOf(secret.replace(/^whsec_/, ""))
  const key = await crypto.subtle.importKey("raw", raw, algorithm, false, ["verify"])
  const signed = new TextEncoder().encode(`${headers.get("webhook-id")}.${sent}.${body}`)
  // While a secret is being changed there are two signatures.
  for (const given of (headers.get("webhook-signature") ?? "").split(" ")) {
    const [version, signature] = given.split(",")
    if (version !== "v1") continue
    if (await crypto.subtle.verify("HMAC", key, bytesOf(signature), signed)) {
      return JSON.parse(body) as Message
    }
  }
  throw new Error("The signature does not hold.")
}

async function main(): Promise<void> {
  const { SECRET, ID, TIMESTAMP, SIGNATURE, BODY } = process.env
  const headers = new Headers({
    "webhook-id": ID,
    "webhook-timestamp": TIMESTAMP,
    "webhook-signature": SIGNATURE,
  })
  const message = await verified(SECRET, headers, BODY)
  console.log(`${message.event} of clinic ${message.organization_id}`)
  // A message may come more than once: remember its webhook-id, once it is done.
}

main().catch((error: Error) => {
  console.error(error.message)
  process.exitCode = 1
})
