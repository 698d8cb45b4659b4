-- Look-up and heartbeat: the API checks a token that it cannot open.
ALTER TABLE nodes ADD COLUMN agent_verifier TEXT;
ALTER TABLE nodes ADD COLUMN agent_verifier_before TEXT;
