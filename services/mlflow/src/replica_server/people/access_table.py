"""Each route, and the role that it takes: what is in no row is refused (test_access.py compares with MLflow's routes).

A row is a role (or `open`), a method and a path; `~` stands for the prefixes of MLflow's API, and `<…>` for a part of a
path. A fourth word is the change's name in the record: such requests are recorded; with `?`, only those that rename
something, as these routes do other things too. What depends on the object (whose
run, which alias) is decided by guards.py. `member@experiment` also lets those through who have a grant for an
experiment, and `member@model` for a registered model: whether it is for this one, grants.py decides. `member@artifact`
is for what names an experiment by an artifact's path.
"""

TABLE = """
open              GET    /health
open              GET    /version
viewer            GET    /
viewer            GET    /build/<path:file>
viewer            GET    /static-files/<path:file>
viewer            GET    /get-artifact
viewer            GET    /model-versions/get-artifact
viewer            GET    /graphql
viewer            POST   /graphql
member@experiment POST   /v1/traces
viewer            GET    ~mlflow-artifacts/artifacts
viewer            GET    ~mlflow-artifacts/artifacts/<path:artifact>
member@artifact   PUT    ~mlflow-artifacts/artifacts/<path:artifact>
admin             DELETE ~mlflow-artifacts/artifacts/<path:artifact> delete-artifact
member@artifact   POST   ~mlflow-artifacts/mpu/<action>/<path:artifact>
viewer            GET    ~mlflow-artifacts/presigned/<path:artifact>
viewer            GET    ~mlflow/artifacts/list
viewer            POST   ~mlflow/artifacts/presigned-download-url
member            POST   ~mlflow/artifacts/presigned-upload-url
member@experiment POST   ~mlflow/upload-artifact
member@experiment POST   ~mlflow/datasets/create
viewer            GET    ~mlflow/datasets/search
viewer            POST   ~mlflow/datasets/search
viewer            GET    ~mlflow/datasets/<dataset>
admin             DELETE ~mlflow/datasets/<dataset> delete-dataset
member@experiment POST   ~mlflow/datasets/<dataset>/add-experiments
member@experiment POST   ~mlflow/datasets/<dataset>/remove-experiments
viewer            GET    ~mlflow/datasets/<dataset>/experiment-ids
viewer            GET    ~mlflow/datasets/<dataset>/records
member@experiment POST   ~mlflow/datasets/<dataset>/records
admin             DELETE ~mlflow/datasets/<dataset>/records delete-records
member@experiment PATCH  ~mlflow/datasets/<dataset>/tags
member@experiment DELETE ~mlflow/datasets/<dataset>/tags/<key>
admin             POST   ~mlflow/demo/delete delete-demo
admin             POST   ~mlflow/demo/generate generate-demo
member            POST   ~mlflow/experiments/create create-experiment
member@experiment POST   ~mlflow/experiments/delete delete-experiment
member@experiment POST   ~mlflow/experiments/restore restore-experiment
member@experiment POST   ~mlflow/experiments/update rename-experiment
member@experiment POST   ~mlflow/experiments/set-experiment-tag
member@experiment POST   ~mlflow/experiments/delete-experiment-tag
viewer            GET    ~mlflow/experiments/get
viewer            GET    ~mlflow/experiments/get-by-name
viewer            GET    ~mlflow/experiments/search
viewer            POST   ~mlflow/experiments/search
viewer            POST   ~mlflow/experiments/search-datasets
viewer            GET    ~mlflow/gateway-proxy
admin             POST   ~mlflow/gateway-proxy
viewer            GET    ~mlflow/get-online-trace-details
viewer            GET    ~mlflow/get-trace-artifact
member@experiment POST   ~mlflow/issues
viewer            POST   ~mlflow/issues/search
viewer            GET    ~mlflow/issues/<issue>
member@experiment PATCH  ~mlflow/issues/<issue>
member@experiment POST   ~mlflow/label-schemas/create
admin             DELETE ~mlflow/label-schemas/delete delete-label-schema
viewer            GET    ~mlflow/label-schemas/get
viewer            GET    ~mlflow/label-schemas/get-by-name
viewer            GET    ~mlflow/label-schemas/list
member@experiment PATCH  ~mlflow/label-schemas/update
member@experiment POST   ~mlflow/logged-models create-logged-model
viewer            POST   ~mlflow/logged-models/search
viewer            GET    ~mlflow/logged-models/<model>
member@experiment PATCH  ~mlflow/logged-models/<model>
member@experiment DELETE ~mlflow/logged-models/<model> delete-logged-model
viewer            GET    ~mlflow/logged-models/<model>/artifacts/directories
viewer            GET    ~mlflow/logged-models/<model>/artifacts/files
member@experiment POST   ~mlflow/logged-models/<model>/params
member@experiment PATCH  ~mlflow/logged-models/<model>/tags
member@experiment DELETE ~mlflow/logged-models/<model>/tags/<key>
viewer            GET    ~mlflow/metrics/get-history
viewer            GET    ~mlflow/metrics/get-history-bulk
viewer            GET    ~mlflow/metrics/get-history-bulk-interval
member@model      POST   ~mlflow/model-versions/create create-version
member@model      DELETE ~mlflow/model-versions/delete delete-version
member@model      DELETE ~mlflow/model-versions/delete-tag
viewer            GET    ~mlflow/model-versions/get
viewer            GET    ~mlflow/model-versions/get-download-uri
viewer            GET    ~mlflow/model-versions/search
member@model      POST   ~mlflow/model-versions/set-tag
member@model      POST   ~mlflow/model-versions/transition-stage move-stage
member@model      PATCH  ~mlflow/model-versions/update
viewer            GET    ~mlflow/registered-models/alias
member@model      POST   ~mlflow/registered-models/alias set-alias
member@model      DELETE ~mlflow/registered-models/alias delete-alias
member@model      POST   ~mlflow/registered-models/create create-model
member@model      DELETE ~mlflow/registered-models/delete delete-model
member@model      POST   ~mlflow/registered-models/rename rename-model
viewer            GET    ~mlflow/registered-models/get
viewer            GET    ~mlflow/registered-models/get-latest-versions
viewer            POST   ~mlflow/registered-models/get-latest-versions
viewer            GET    ~mlflow/registered-models/search
member@model      POST   ~mlflow/registered-models/set-tag
member@model      DELETE ~mlflow/registered-models/delete-tag
member@model      PATCH  ~mlflow/registered-models/update
member@experiment POST   ~mlflow/review-queues/create
admin             POST   ~mlflow/review-queues/delete delete-review-queue
viewer            GET    ~mlflow/review-queues/get
viewer            GET    ~mlflow/review-queues/get-by-name
viewer            GET    ~mlflow/review-queues/list
member@experiment POST   ~mlflow/review-queues/get-or-create-user
member@experiment POST   ~mlflow/review-queues/update
viewer            GET    ~mlflow/review-queues/items/list
member@experiment POST   ~mlflow/review-queues/items/add
member@experiment POST   ~mlflow/review-queues/items/remove
member@experiment POST   ~mlflow/review-queues/items/set-status
member@experiment POST   ~mlflow/runs/create create-run
member@experiment POST   ~mlflow/runs/delete delete-run
member@experiment POST   ~mlflow/runs/restore restore-run
member@experiment POST   ~mlflow/runs/delete-tag rename-run?
viewer            GET    ~mlflow/runs/get
member@experiment POST   ~mlflow/runs/log-batch rename-run?
member@experiment POST   ~mlflow/runs/log-inputs
member@experiment POST   ~mlflow/runs/log-metric
member@experiment POST   ~mlflow/runs/log-model
member@experiment POST   ~mlflow/runs/log-parameter
member@experiment POST   ~mlflow/runs/outputs
viewer            POST   ~mlflow/runs/search
member@experiment POST   ~mlflow/runs/set-tag rename-run?
member@experiment POST   ~mlflow/runs/update rename-run?
viewer            GET    ~mlflow/server-info
viewer            GET    ~mlflow/traces
member@experiment POST   ~mlflow/traces
viewer            GET    ~mlflow/traces/batchGet
viewer            POST   ~mlflow/traces/batchGetInfos
viewer            POST   ~mlflow/traces/calculate-filter-correlation
admin             POST   ~mlflow/traces/delete-traces delete-traces
viewer            GET    ~mlflow/traces/get
member@experiment POST   ~mlflow/traces/link-prompts
member@experiment POST   ~mlflow/traces/link-to-run
viewer            POST   ~mlflow/traces/metrics
viewer            POST   ~mlflow/traces/search
viewer            GET    ~mlflow/traces/<trace>
member@experiment PATCH  ~mlflow/traces/<trace>
viewer            GET    ~mlflow/traces/<trace>/info
member@experiment PATCH  ~mlflow/traces/<trace>/tags
member@experiment DELETE ~mlflow/traces/<trace>/tags
member@experiment POST   ~mlflow/traces/<trace>/assessments
viewer            GET    ~mlflow/traces/<trace>/assessments/<assessment>
member@experiment PATCH  ~mlflow/traces/<trace>/assessments/<assessment>
admin             DELETE ~mlflow/traces/<trace>/assessments/<assessment> delete-assessment
viewer            GET    ~mlflow/ui-telemetry
viewer            POST   ~mlflow/ui-telemetry
viewer            GET    ~mlflow/unified-traces
viewer            GET    ~mlflow/assistant/config
viewer            GET    ~mlflow/assistant/providers
viewer            GET    ~mlflow/scorers/list
viewer            GET    ~mlflow/users/current
viewer            GET    ~mlflow/users/current/permissions
viewer            GET    ~mlflow/users/roles/list
admin             GET    ~mlflow/users/get
admin             GET    ~mlflow/users/list
admin             GET    ~mlflow/users/permissions/get
admin             GET    ~mlflow/users/permissions/list
admin             POST   ~mlflow/users/permissions/grant add-grant
admin             POST   ~mlflow/users/permissions/revoke remove-grant
admin             PATCH  ~mlflow/users/update-admin change-role
admin             POST   ~mlflow/users/create add-user
admin             PATCH  ~mlflow/users/update-password change-password
admin             DELETE ~mlflow/users/delete remove-user
admin             GET    ~mlflow/roles/get
admin             GET    ~mlflow/roles/list
admin             GET    ~mlflow/roles/permissions/list
admin             GET    ~mlflow/roles/users/list
admin             POST   ~mlflow/roles/assign change-role
admin             DELETE ~mlflow/roles/unassign change-role
admin             POST   ~mlflow/roles/create create-role
admin             PATCH  ~mlflow/roles/update update-role
admin             DELETE ~mlflow/roles/delete delete-role
admin             POST   ~mlflow/roles/permissions/add update-role
admin             PATCH  ~mlflow/roles/permissions/update update-role
admin             DELETE ~mlflow/roles/permissions/remove update-role
viewer            GET    /people/me
admin             GET    /people/users
admin             POST   /people/users/<user> add-user
admin             PATCH  /people/users/<user> change-role
admin             DELETE /people/users/<user> remove-user
admin             GET    /people/grants
admin             POST   /people/grants/<user> add-grant
admin             DELETE /people/grants/<user> remove-grant
admin             GET    /people/tokens
admin             POST   /people/tokens/<user>/<token> add-token
admin             DELETE /people/tokens/<user>/<token> remove-token
"""
