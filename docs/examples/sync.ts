// Start a sync of all patients of a clinic, and watch it to its end.
//   npx -p typescript@5 tsc --target es2022 --module commonjs --lib es2022,dom sync.ts
//   API=http://localhost:8000 TOKEN=… ORG_ID=1 node sync.js

interface SyncLog {
  id: number
  operation_type: string
  status: "running" | "completed" | "failed"
  records_processed: number
  records_success: number
  metadata: {
    progress_percent: number
    estimated_remaining: string | null
    certificate: { in_step: boolean } | null
  }
  error_details: { error_code: string; message: string } | null
}

interface ApiError {
  error: true
  message: string
  error_code: string
  details?: { sync_log_id: number }
}

declare const process: { env: Record<string, string>; exitCode: number }

const { API, TOKEN, ORG_ID } = process.env
const cliniko = `${API}/api/v1/cliniko`
const authorization = { Authorization: `Bearer ${TOKEN}` }

function calculateProgress(log: SyncLog): number {
  if (log.metadata?.progress_percent) return log.metadata.progress_percent
  if (log.records_processed > 0) return (log.records_success / log.records_processed) * 100
  return 0
}

async function errorOf(response: Response): Promise<ApiError> {
  // Every error has the same shape, but for those of proxies.
  const proxys = { error: true, error_code: `HTTP ${response.status}`, message: "no answer of the API" }
  return response.json().catch(() => proxys) as Promise<ApiError>
}

async function explain(response: Response): Promise<never> {
  const error = await errorOf(response)
  throw new Error(`${error.error_code}: ${error.message}`)
}

const seconds = (count: number) => new Promise((wake) => setTimeout(wake, count * 1000))

async function read<T>(path: string): Promise<T> {
  // Asks again while it helps: after Retry-After, or after 1, 2, 4 … 60 seconds.
  for (let wait = 1; ; wait = Math.min(wait * 2, 60)) {
    const signal = AbortSignal.timeout(30_000)
    const answer = await fetch(`${cliniko}/${path}`, { headers: authorization, signal }).catch(() => null)
    if (answer?.ok) return (await answer.json()) as T
    if (answer && ![429, 502, 503, 504].includes(answer.status)) await explain(answer)
    await seconds(Number(answer?.headers.get("Retry-After")) || wait) // a proxy's may be a date
  }
}

async function startSync(orgId: string, key: string): Promise<number> {
  const response = await fetch(`${cliniko}/sync-all/${orgId}`, {
    method: "POST",
    // Asking again with the same key starts nothing twice: safe after a broken connection.
    headers: { ...authorization, "Idempotency-Key": key },
    signal: AbortSignal.timeout(30_000),
  })
  if (response.ok) return ((await response.json()) as { sync_log_id: number }).sync_log_id
  const error = await errorOf(response)
  // One that somebody else has started is watched as well.
  if (error.error_code === "SYNC_ALREADY_RUNNING" && error.details) return error.details.sync_log_id
  throw new Error(`${error.error_code}: ${error.message}`)
}

async function monitorSync(orgId: string, syncId: number): Promise<SyncLog> {
  while (true) {
    const log = await read<SyncLog>(`sync-logs/${orgId}/${syncId}`)
    console.log(`${calculateProgress(log)} % ${log.metadata.estimated_remaining ?? ""}`)
    if (log.status === "completed" || log.status === "failed") return log
    await seconds(2)
  }
}

async function main(): Promise<void> {
  const key = crypto.randomUUID()
  let log: SyncLog
  do {
    log = await monitorSync(ORG_ID, await startSync(ORG_ID, key))
    // Somebody else's may have read only some of the patients: then it is our turn.
  } while (log.operation_type !== "full_patients")
  if (log.error_details) throw new Error(log.error_details.message)
  console.log(`${log.records_success} records stored.`)
  // The certificate of both sides: not so while records fail, Cliniko shows fewer than it counts, or
  // removals wait for an admin, and once one has decided to keep patients who are gone; the metadata
  // tell which (records_failed, not_shown, removals_held, removals_unasked, removals_kept).
  if (!log.metadata.certificate?.in_step) throw new Error("Completed, but not all patients are in step.")
}

main().catch((error: Error) => {
  console.error(error.message)
  process.exitCode = 1
})
