/* limit.h: every number that a stranger can push against, in one place. */
#pragma once

#define LIMIT_JSON_DEPTH       32
#define LIMIT_API_BODY         (1024 * 1024)
#define LIMIT_API_CONFIG_DRIVE (64 * 1024 * 1024)
#define LIMIT_AGENT_REPLY      (256 * 1024)      /* status, command lists, step lists */
#define LIMIT_INVENTORY        (2 * 1024 * 1024) /* get_hardware_info */
#define LIMIT_BMC_REPLY        (1024 * 1024)     /* one Redfish resource */
#define LIMIT_HTTP_HEADERS     (16 * 1024)
#define LIMIT_HTTP_LINE        (16 * 1024)
#define LIMIT_AGENT_REQUEST    (96 * 1024 * 1024) /* write_image carries the config drive */
#define LIMIT_IPC_MESSAGE      (128 * 1024 * 1024)
#define LIMIT_ERROR_TEXT       4096 /* a sentence that came from a machine, after escaping */
#define LIMIT_STEPS            200
#define LIMIT_NODE_JSON        (1024 * 1024) /* one JSON attribute of a row */
#define LIMIT_URL              8192          /* of an image, a config drive */
#define LIMIT_IMAGE_URLS       16            /* tried in order */
#define LIMIT_CHECKSUM_FILE    (1024 * 1024) /* SHA256SUMS and the like */
#define LIMIT_CONFIG_FILE      (1024 * 1024)
#define LIMIT_PATCH_STEPS      1000 /* operations of one JSON patch */
#define LIMIT_API_CONNECTIONS  512
#define LIMIT_LOOKUP_ANSWER    (1024 * 1024) /* a node with its look-up settings */
#define LIMIT_AGENT_CALL       (64 * 1024)   /* body of a heartbeat */
#define LIMIT_AGENT_LOGS       (192 * 1024) /* the archive as base64: fits into LIMIT_AGENT_REPLY */
#define LIMIT_RESCUE_PASSWORD  512          /* plain or hashed; what crypt(3) takes */
#define LIMIT_DIALERS          16           /* [agent]dialers */
#define LIMIT_CERTIFICATE      (16 * 1024)  /* of an agent, as PEM */
#define LIMIT_MEDIA_RECORD     (64 * 1024)  /* what differs in the ISO of one boot */
#define LIMIT_MEDIA_PATCHES    16
#define LIMIT_MEDIA_NAME       255                 /* of a base ISO, below the http root */
#define LIMIT_MEDIA_ISO        (512 * 1024 * 1024) /* a base ISO */
#define LIMIT_MEDIA_CLIENTS    256 /* connections of the boot host's nginx to inox-media */
#define LIMIT_MEDIA_READERS    16  /* of them, those that read the ISO of one node */
